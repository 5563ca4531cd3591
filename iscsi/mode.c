/* iscsi/mode.c - mode pages: caching and control, as far as they are real.
 * Every bit that reads as changeable changes what the engine does.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/engine.h"

enum { MODE_PAGE_BYTES_MAX = 20, MODE_BYTES_MAX = 8 + 16 + 80 };

enum page_control { CURRENT, CHANGEABLE, DEFAULT, SAVED };

static void recovery_get(const struct scsi_lu *lu, uint8_t *page)
{
    (void)lu;
    page[2] = 0x80; /* AWRE */
}

static void caching_get(const struct scsi_lu *lu, uint8_t *page)
{
    if (!lu || lu->write_cache)
        page[2] = 0x04; /* WCE */
}

static void control_get(const struct scsi_lu *lu, uint8_t *page)
{
    if (lu && lu->descriptor_sense)
        page[2] = 0x04; /* D_SENSE */
    page[3] = 0x10;     /* commands are reordered at will */
    if (lu && lu->software_write_protect)
        page[4] = 0x08; /* SWP */
}

static void exceptions_get(const struct scsi_lu *lu, uint8_t *page)
{
    (void)lu;
    page[2] = 0x08; /* DEXCPT: none are reported */
}

static void caching_set(struct scsi_lu *lu, const uint8_t *page)
{
    lu->write_cache = page[2] & 0x04;
}

static void control_set(struct scsi_lu *lu, const uint8_t *page)
{
    lu->descriptor_sense = page[2] & 0x04;
    lu->software_write_protect = page[4] & 0x08;
}

static const struct mode_page {
    uint8_t code, bytes; /* with the two of the header */
    void (*get)(const struct scsi_lu *lu, uint8_t *page); /* NULL: default */
    void (*set)(struct scsi_lu *lu, const uint8_t *page);
    uint8_t changeable[MODE_PAGE_BYTES_MAX];
} mode_pages[] = {
    {0x01, 12, recovery_get,   NULL,        {0}               },
    {0x08, 20, caching_get,    caching_set, {0, 0, 0x04}      },
    {0x0a, 12, control_get,    control_set, {0, 0, 0x04, 0, 8}},
    {0x1c, 12, exceptions_get, NULL,        {0}               },
};

static void page_get(const struct mode_page *p, const struct scsi_lu *lu,
                     enum page_control pc, uint8_t *page)
{
    memset(page, 0, p->bytes);
    if (pc == CHANGEABLE)
        memcpy(page, p->changeable, p->bytes);
    else
        p->get(pc == CURRENT ? lu : NULL, page);
    page[0] = p->code;
    page[1] = (uint8_t)(p->bytes - 2);
}

/* Block descriptors (SBC-3 6.5.2), short and long. */
static size_t put_block_descriptor(const struct scsi_lu *lu, bool is_long,
                                   uint8_t *at)
{
    uint64_t blocks = scsi_lu_blocks(lu);

    if (is_long) {
        be64_store(at, blocks);
        be32_store(at + 12, lu->store->block_bytes);
        return 16;
    }
    be32_store(at, (uint32_t)min_u64(blocks, UINT32_MAX));
    be32_store(at + 4, lu->store->block_bytes); /* 24 bits; < 2^24 always */
    return 8;
}

void mode_sense(struct scsi_cmd *cmd)
{
    bool ten = cmd->cdb[0] == 0x5a, found = false;
    bool with_block = !(cmd->cdb[1] & 0x08);
    bool is_long = ten && (cmd->cdb[1] & 0x10);
    enum page_control pc = cmd->cdb[2] >> 6;
    uint8_t code = cmd->cdb[2] & 0x3f, subpage = cmd->cdb[3];
    uint8_t buf[MODE_BYTES_MAX] = {0};
    size_t header = ten ? 8 : 4, len = header, block = 0;
    uint8_t specific = scsi_lu_protected(cmd->lu) ? 0x90 : 0x10; /* DPOFUA */

    if (pc == SAVED) {
        scsi_fail(cmd, SENSE_SAVING_UNSUPPORTED);
        return;
    }
    if (subpage && !(subpage == 0xff && code == 0x3f)) {
        scsi_fail_cdb(cmd, 3, -1);
        return;
    }
    if (with_block)
        block = put_block_descriptor(cmd->lu, is_long, buf + len);
    len += block;
    for (size_t i = 0; i < ARRAY_LEN(mode_pages); i++) {
        if (code != 0x3f && code != mode_pages[i].code)
            continue;
        page_get(&mode_pages[i], cmd->lu, pc, buf + len);
        len += mode_pages[i].bytes;
        found = true;
    }
    if (!found) {
        scsi_fail_cdb(cmd, 2, 5);
        return;
    }
    if (ten) {
        be16_store(buf, (uint16_t)(len - 2));
        buf[3] = specific;
        buf[4] = is_long && block;
        be16_store(buf + 6, (uint16_t)block);
    } else {
        buf[0] = (uint8_t)(len - 1);
        buf[2] = specific;
        buf[3] = (uint8_t)block;
    }
    scsi_reply(cmd, buf, len, ten ? be16_load(cmd->cdb + 7) : cmd->cdb[4]);
}

/* -- MODE SELECT ----------------------------------------------------------- */

/* Check one page of the list against what may change; 0 = fine, else the
 * offending byte of the page plus one. */
static unsigned page_check(const struct mode_page *p, const struct scsi_lu *lu,
                           const uint8_t *page)
{
    uint8_t now[MODE_PAGE_BYTES_MAX];

    page_get(p, lu, CURRENT, now);
    for (unsigned i = 1; i < p->bytes; i++)
        if ((page[i] ^ now[i]) & ~p->changeable[i])
            return i + 1;
    return 0;
}

static const struct mode_page *page_find(uint8_t code)
{
    for (size_t i = 0; i < ARRAY_LEN(mode_pages); i++)
        if (mode_pages[i].code == code)
            return &mode_pages[i];
    return NULL;
}

/* Walk the pages from `at` on: check them all, or set them all. */
static bool select_pages(struct scsi_cmd *cmd, const uint8_t *list, size_t len,
                         size_t at, bool set)
{
    while (at < len) {
        const struct mode_page *p = page_find(list[at] & 0x3f);
        unsigned wrong;

        if (!p || (list[at] & 0x40)) {
            scsi_fail_parameter(cmd, (unsigned)at);
            return false;
        }
        if (!range_ok(at, p->bytes, len)) {
            scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
            return false;
        }
        wrong = set ? 0 : page_check(p, cmd->lu, list + at);
        if (wrong) {
            scsi_fail_parameter(cmd, (unsigned)at + wrong - 1);
            return false;
        }
        if (set && p->set)
            p->set(cmd->lu, list + at);
        at += p->bytes;
    }
    return true;
}

/* Where the pages begin behind header and block descriptor; 0: refused. */
static size_t select_pages_start(struct scsi_cmd *cmd, const uint8_t *list,
                                 size_t len, bool ten)
{
    size_t header = ten ? 8 : 4, block;
    bool is_long;

    if (len < header) {
        scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
        return 0;
    }
    is_long = ten && (list[4] & 1);
    block = ten ? be16_load(list + 6) : list[3];
    if (block && block != (is_long ? 16 : 8)) {
        scsi_fail_parameter(cmd, ten ? 6 : 3);
        return 0;
    }
    if (!range_ok(header, block, len)) {
        scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
        return 0;
    }
    /* The length of a block is the last field of both kinds. */
    if (block && (be32_load(list + header + block - 4) & 0xffffff) !=
                     cmd->lu->store->block_bytes) {
        scsi_fail_parameter(cmd, (unsigned)(header + block - 4));
        return 0;
    }
    return header + block;
}

static void select_flushed(struct scsi_cmd *cmd, enum err e)
{
    if (e)
        scsi_fail_err(cmd, e);
    else
        scsi_good(cmd);
}

/* SBC-3 6.5.5: what the cache held when WCE is cleared must be safe. */
static void select_flush(struct scsi_cmd *cmd, enum err e)
{
    (void)e;
    scsi_io(cmd, STORE_FLUSH, 0, 0, 0, NULL, 0, select_flushed);
}

/* Set what was checked. */
static void select_apply(struct scsi_cmd *cmd, const uint8_t *list, size_t len,
                         size_t at)
{
    bool cached = cmd->lu->write_cache;

    (void)select_pages(cmd, list, len, at, true);
    scsi_ua_set_others(cmd->bus, cmd->lun, UA_MODE_CHANGED, cmd->nexus);
    if (cached && !cmd->lu->write_cache && !cmd->lu->read_only)
        scsi_start(cmd, select_flush);
    else
        scsi_good(cmd);
}

void mode_select(struct scsi_cmd *cmd)
{
    bool ten = cmd->cdb[0] == 0x55;
    size_t len = ten ? be16_load(cmd->cdb + 7) : cmd->cdb[4], at;
    uint8_t list[MODE_BYTES_MAX];

    if (cmd->cdb[1] & 0x01) { /* SP: nothing is saved */
        scsi_fail_cdb(cmd, 1, 0);
        return;
    }
    if (!(cmd->cdb[1] & 0x10)) { /* PF: only pages are understood */
        scsi_fail_cdb(cmd, 1, 4);
        return;
    }
    if (!len) { /* SPC-4 6.11: not an error */
        scsi_good(cmd);
        return;
    }
    if (len > sizeof list) {
        scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
        return;
    }
    if (!scsi_fetch(cmd, list, len))
        return;
    at = select_pages_start(cmd, list, len, ten);
    if (at && select_pages(cmd, list, len, at, false))
        select_apply(cmd, list, len, at);
}
