/* iscsi/pr.c - persistent reservations of one unit, by SPC-4 5.13.
 * Pure bookkeeping but for the wait of PREEMPT AND ABORT.  A registration is
 * an initiator's name and its key; it lives as long as the unit (no APTPL).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"

enum { NOT_REGISTERED = -1 };

static int find(const struct pr_state *pr, const char *name)
{
    for (int i = 0; i < PR_REGISTRATIONS_MAX; i++)
        if (pr->registrations[i].key &&
            strcmp(pr->registrations[i].name, name) == 0)
            return i;
    return NOT_REGISTERED;
}

/* Types held by every registrant. */
static bool is_all(enum pr_type type)
{
    return type == PR_WRITE_EXCLUSIVE_ALL || type == PR_EXCLUSIVE_ALL;
}

/* Types that let every registrant in. */
static bool lets_registrants(enum pr_type type)
{
    return is_all(type) || type == PR_WRITE_EXCLUSIVE_REGISTRANTS ||
           type == PR_EXCLUSIVE_REGISTRANTS;
}

static bool lets_readers(enum pr_type type)
{
    return type == PR_WRITE_EXCLUSIVE ||
           type == PR_WRITE_EXCLUSIVE_REGISTRANTS ||
           type == PR_WRITE_EXCLUSIVE_ALL;
}

static bool type_valid(unsigned type)
{
    switch (type) {
    case PR_WRITE_EXCLUSIVE:
    case PR_EXCLUSIVE:
    case PR_WRITE_EXCLUSIVE_REGISTRANTS:
    case PR_EXCLUSIVE_REGISTRANTS:
    case PR_WRITE_EXCLUSIVE_ALL:
    case PR_EXCLUSIVE_ALL: return true;
    }
    return false;
}

static bool is_holder(const struct pr_state *pr, int who)
{
    if (!pr->type || who == NOT_REGISTERED)
        return false;
    return is_all(pr->type) || pr->holder == (unsigned)who;
}

bool pr_conflicts(const struct scsi_lu *lu, const struct scsi_nexus *nexus,
                  enum scsi_access access)
{
    const struct pr_state *pr = &lu->pr;
    int who;

    if (!pr->type || access == ACCESS_ANY || access == ACCESS_PR)
        return false;
    if (access == ACCESS_READ && lets_readers(pr->type))
        return false;
    who = find(pr, nexus->name);
    if (who == NOT_REGISTERED)
        return true;
    return !is_holder(pr, who) && !lets_registrants(pr->type);
}

/* -- PERSISTENT RESERVE IN ------------------------------------------------- */

void pr_in_read_keys(struct scsi_cmd *cmd)
{
    const struct pr_state *pr = &cmd->lu->pr;
    uint8_t buf[8 + 8 * PR_REGISTRATIONS_MAX] = {0};
    size_t len = 8;

    for (size_t i = 0; i < PR_REGISTRATIONS_MAX; i++) {
        if (!pr->registrations[i].key)
            continue;
        be64_store(buf + len, pr->registrations[i].key);
        len += 8;
    }
    be32_store(buf, pr->generation);
    be32_store(buf + 4, (uint32_t)len - 8);
    scsi_reply(cmd, buf, len, be16_load(cmd->cdb + 7));
}

void pr_in_read_reservation(struct scsi_cmd *cmd)
{
    const struct pr_state *pr = &cmd->lu->pr;
    uint8_t buf[24] = {0};

    be32_store(buf, pr->generation);
    if (pr->type) {
        be32_store(buf + 4, 16);
        if (!is_all(pr->type)) /* else 0, as all of them hold it */
            be64_store(buf + 8, pr->registrations[pr->holder].key);
        buf[21] = (uint8_t)pr->type;
    }
    scsi_reply(cmd, buf, pr->type ? 24 : 8, be16_load(cmd->cdb + 7));
}

void pr_in_report_capabilities(struct scsi_cmd *cmd)
{
    uint8_t buf[8] = {0, 8};

    buf[2] = 0x04; /* ATP_C: there is one target port, so that is all */
    buf[3] = 0x80; /* TMV */
    buf[4] = 0xea; /* types 7, 6, 5, 3, 1 */
    buf[5] = 0x01; /* type 8 */
    scsi_reply(cmd, buf, sizeof buf, be16_load(cmd->cdb + 7));
}

enum {
    STATUS_HEADER_BYTES = 24,
    TRANSPORT_BYTES_MAX = 4 + ((SCSI_NEXUS_NAME_MAX + 1 + 3) & ~3)
};

/* One full status descriptor (SPC-4 6.14.5), with the initiator's name as an
 * iSCSI TransportID (7.6.4.6). */
static size_t put_status(const struct pr_state *pr, int who, uint8_t *at)
{
    const struct pr_registration *r = &pr->registrations[who];
    size_t name = max_u64(align_up(strlen(r->name) + 1, 4), 20);
    uint8_t *id = at + STATUS_HEADER_BYTES;

    memset(at, 0, STATUS_HEADER_BYTES + 4 + name);
    be64_store(at, r->key);
    if (is_holder(pr, who)) {
        at[12] = 0x01;
        at[13] = (uint8_t)pr->type;
    }
    be16_store(at + 18, 1);
    be32_store(at + 20, (uint32_t)(4 + name));
    id[0] = 0x05;
    be16_store(id + 2, (uint16_t)name);
    memcpy(id + 4, r->name, strlen(r->name));
    return STATUS_HEADER_BYTES + 4 + name;
}

void pr_in_read_full_status(struct scsi_cmd *cmd)
{
    const struct pr_state *pr = &cmd->lu->pr;
    uint8_t one[STATUS_HEADER_BYTES + TRANSPORT_BYTES_MAX], header[8];
    size_t room = min_u64(be16_load(cmd->cdb + 7), cmd->in_bytes), at = 8;

    for (int i = 0; i < PR_REGISTRATIONS_MAX; i++) {
        size_t len;

        if (!pr->registrations[i].key)
            continue;
        len = put_status(pr, i, one);
        if (at < room)
            iov_from_buf(cmd->in, cmd->in_count, at, one,
                         min_u64(len, room - at));
        at += len;
    }
    be32_store(header, pr->generation);
    be32_store(header + 4, (uint32_t)at - 8);
    iov_from_buf(cmd->in, cmd->in_count, 0, header, min_u64(8, room));
    cmd->asked_bytes = min_u64(at, be16_load(cmd->cdb + 7));
    cmd->moved_bytes = min_u64(at, room);
    scsi_good(cmd);
}

/* -- PERSISTENT RESERVE OUT ------------------------------------------------ */

struct pr_request {
    uint64_t key, action_key;
    enum pr_type type;
    int who; /* the registration of the sender */
};

static void tell(struct scsi_cmd *cmd, int who, enum scsi_ua ua)
{
    struct scsi_nexus *nexus =
        scsi_bus_nexus_named(cmd->bus, cmd->lu->pr.registrations[who].name);

    if (nexus && nexus != cmd->nexus)
        scsi_ua_set(nexus, cmd->lun, ua);
}

static void tell_registrants(struct scsi_cmd *cmd, enum scsi_ua ua)
{
    for (int i = 0; i < PR_REGISTRATIONS_MAX; i++)
        if (cmd->lu->pr.registrations[i].key)
            tell(cmd, i, ua);
}

/* The reservation ends, and other registrants hear of it where it let them
 * in (SPC-4 5.13.11.2.2). */
static void release(struct scsi_cmd *cmd)
{
    struct pr_state *pr = &cmd->lu->pr;
    enum pr_type was = pr->type;

    pr->type = PR_TYPE_NONE;
    if (lets_registrants(was))
        tell_registrants(cmd, UA_RESERVATION_RELEASED);
}

static bool nobody_registered(const struct pr_state *pr)
{
    for (int i = 0; i < PR_REGISTRATIONS_MAX; i++)
        if (pr->registrations[i].key)
            return false;
    return true;
}

static void unregister(struct scsi_cmd *cmd, int who)
{
    struct pr_state *pr = &cmd->lu->pr;
    bool held = is_holder(pr, who);

    pr->registrations[who].key = 0;
    if (held && (!is_all(pr->type) || nobody_registered(pr)))
        release(cmd);
}

static int free_entry(const struct pr_state *pr)
{
    for (int i = 0; i < PR_REGISTRATIONS_MAX; i++)
        if (!pr->registrations[i].key)
            return i;
    return NOT_REGISTERED;
}

static void register_key(struct scsi_cmd *cmd, const struct pr_request *rq)
{
    struct pr_state *pr = &cmd->lu->pr;
    int who = rq->who;

    if (who == NOT_REGISTERED && rq->action_key) {
        who = free_entry(pr);
        if (who == NOT_REGISTERED) {
            scsi_fail(cmd, SENSE_REGISTRATIONS_FULL);
            return;
        }
        memcpy(pr->registrations[who].name, cmd->nexus->name,
               sizeof pr->registrations[who].name);
    }
    if (rq->action_key)
        pr->registrations[who].key = rq->action_key;
    else if (who != NOT_REGISTERED)
        unregister(cmd, who);
    pr->generation++;
    scsi_good(cmd);
}

static void out_register(struct scsi_cmd *cmd, const struct pr_request *rq)
{
    uint64_t now =
        rq->who == NOT_REGISTERED ? 0 : cmd->lu->pr.registrations[rq->who].key;

    if (rq->key == now)
        register_key(cmd, rq);
    else
        scsi_finish(cmd, SCSI_RESERVATION_CONFLICT);
}

static void out_reserve(struct scsi_cmd *cmd, const struct pr_request *rq)
{
    struct pr_state *pr = &cmd->lu->pr;

    if (!type_valid(rq->type)) {
        scsi_fail_cdb(cmd, 2, 3);
    } else if (!pr->type) {
        pr->type = rq->type;
        pr->holder = (unsigned)rq->who;
        scsi_good(cmd);
    } else if (is_holder(pr, rq->who) && pr->type == rq->type) {
        scsi_good(cmd);
    } else {
        scsi_finish(cmd, SCSI_RESERVATION_CONFLICT);
    }
}

static void out_release(struct scsi_cmd *cmd, const struct pr_request *rq)
{
    struct pr_state *pr = &cmd->lu->pr;

    if (is_holder(pr, rq->who)) {
        if (pr->type != rq->type) {
            scsi_fail(cmd, SENSE_INVALID_RELEASE);
            return;
        }
        release(cmd);
    }
    scsi_good(cmd);
}

static void out_clear(struct scsi_cmd *cmd, const struct pr_request *rq)
{
    struct pr_state *pr = &cmd->lu->pr;

    (void)rq;
    tell_registrants(cmd, UA_RESERVATION_PREEMPTED);
    pr->type = PR_TYPE_NONE;
    memset(pr->registrations, 0, sizeof pr->registrations);
    pr->generation++;
    scsi_good(cmd);
}

/* Take the registrations with this key (0: all) from everyone else; returns
 * how many there were, the sender's own included. */
static unsigned preempt_key(struct scsi_cmd *cmd, const struct pr_request *rq,
                            uint64_t key, bool abort)
{
    struct pr_state *pr = &cmd->lu->pr;
    unsigned count = 0;

    for (int i = 0; i < PR_REGISTRATIONS_MAX; i++) {
        if (!pr->registrations[i].key)
            continue;
        if (key && pr->registrations[i].key != key)
            continue;
        count++;
        if (i == rq->who)
            continue;
        tell(cmd, i, UA_REGISTRATION_PREEMPTED);
        pr->registrations[i].key = 0;
        if (abort)
            scsi_abort_nexus(cmd->lu, pr->registrations[i].name);
    }
    return count;
}

static void preempt_drained(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    scsi_good(cmd);
}

/* SPC-4 5.13.11.2.6: whose reservation is it, and is the key its key? */
static void preempt(struct scsi_cmd *cmd, const struct pr_request *rq,
                    bool abort)
{
    struct pr_state *pr = &cmd->lu->pr;
    bool all = pr->type && is_all(pr->type);
    uint64_t key = rq->action_key;
    bool takes =
        pr->type && (all ? !key : pr->registrations[pr->holder].key == key);
    enum pr_type was = pr->type;

    if (!key && !all) {
        scsi_fail_parameter(cmd, 8);
        return;
    }
    if (takes && !type_valid(rq->type)) {
        scsi_fail_cdb(cmd, 2, 3);
        return;
    }
    if (!preempt_key(cmd, rq, key, abort)) {
        scsi_finish(cmd, SCSI_RESERVATION_CONFLICT);
        return;
    }
    if (takes) {
        if (was != rq->type && lets_registrants(was))
            tell_registrants(cmd, UA_RESERVATION_RELEASED);
        pr->type = rq->type;
        pr->holder = (unsigned)rq->who;
    }
    pr->generation++;
    if (!abort) {
        scsi_good(cmd);
        return;
    }
    /* Good when nothing that was aborted can touch the medium any more. */
    cmd->exclusive = true;
    cmd->blocks = scsi_lu_blocks(cmd->lu);
    scsi_start(cmd, preempt_drained);
}

static void out_preempt(struct scsi_cmd *cmd, const struct pr_request *rq)
{
    preempt(cmd, rq, false);
}

static void out_preempt_abort(struct scsi_cmd *cmd, const struct pr_request *rq)
{
    preempt(cmd, rq, true);
}

static const struct pr_action {
    bool checks_key; /* the sender must be registered with this key */
    bool has_type;   /* scope and type of the CDB count */
    void (*run)(struct scsi_cmd *cmd, const struct pr_request *rq);
} pr_actions[] = {
    {false, false, out_register     },
    {true,  true,  out_reserve      },
    {true,  true,  out_release      },
    {true,  false, out_clear        },
    {true,  true,  out_preempt      },
    {true,  true,  out_preempt_abort},
    {false, false, register_key     },
};

enum { PR_LIST_BYTES = 24, PR_FLAG_APTPL = 0x01, PR_FLAG_SPEC_I_PT = 0x08 };

void pr_out(struct scsi_cmd *cmd)
{
    const struct pr_action *action = &pr_actions[cmd->op->action];
    const struct pr_state *pr = &cmd->lu->pr;
    struct pr_request rq = {.type = cmd->cdb[2] & 0x0f};
    uint8_t list[PR_LIST_BYTES];

    if (be32_load(cmd->cdb + 5) != PR_LIST_BYTES) {
        scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
        return;
    }
    if (action->has_type && (cmd->cdb[2] & 0xf0)) { /* only LU_SCOPE */
        scsi_fail_cdb(cmd, 2, 7);
        return;
    }
    if (!scsi_fetch(cmd, list, sizeof list))
        return;
    if (list[20] & (PR_FLAG_APTPL | PR_FLAG_SPEC_I_PT)) {
        scsi_fail_parameter(cmd, 20);
        return;
    }
    rq.key = be64_load(list);
    rq.action_key = be64_load(list + 8);
    rq.who = find(pr, cmd->nexus->name);
    if (action->checks_key &&
        (rq.who == NOT_REGISTERED || pr->registrations[rq.who].key != rq.key)) {
        scsi_finish(cmd, SCSI_RESERVATION_CONFLICT);
        return;
    }
    action->run(cmd, &rq);
}
