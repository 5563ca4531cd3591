/* lunard/config.c - lunar.conf: every key is a row of one table.
 * Refuses what it does not know: a typing error must not become a default.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/config.h"

#include "base/cluster_key.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    SPIN_AUTO_US = 50,     /* longer than a wake-up costs */
    SECTION_BYTES_MAX = 48 /* inih cuts off what is longer */
};

struct parse {
    const char *path;
    struct config *config;
    struct diag *why;
    bool failed;   /* the first error stands */
    uint32_t seen; /* keys, by their row */
    char reason[DIAG_TEXT_BYTES / 2];
};

struct key {
    const char *section, *name;
    size_t at, room; /* of the field in struct config */
    bool (*set)(const struct key *key, struct parse *p, const char *value);
};

static void *field(const struct key *key, struct parse *p)
{
    return (char *)p->config + key->at;
}

static bool refuse(struct parse *p, const char *text)
{
    snprintf(p->reason, sizeof p->reason, "%s", text);
    return false;
}

static bool set_text(const struct key *key, struct parse *p, const char *value)
{
    if (!*value)
        return refuse(p, "must not be empty");
    if (strlen(value) >= key->room)
        return refuse(p, "is too long");
    memcpy(field(key, p), value, strlen(value) + 1);
    return true;
}

/* A name appears in file names and on the LUN: letters, digits, . _ - */
static bool is_name(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    return !text[strspn(text, allowed)] && *text != '.' && *text != '-';
}

static bool set_name(const struct key *key, struct parse *p, const char *value)
{
    if (!is_name(value))
        return refuse(p, "may have letters, digits and . _ - only");
    return set_text(key, p, value);
}

/* Is one of its parts "." or ".."? */
static bool has_dots(const char *path)
{
    for (path = strstr(path, "/."); path; path = strstr(path + 1, "/.")) {
        const char *end = path + (path[2] == '.' ? 3 : 2);

        if (!*end || *end == '/')
            return true;
    }
    return false;
}

static bool set_path(const struct key *key, struct parse *p, const char *value)
{
    size_t len = strlen(value);

    if (*value != '/')
        return refuse(p, "must be an absolute path");
    if (value[len - 1] == '/')
        return refuse(p, len == 1 ? "must not be the root of all"
                                  : "must not end in a slash");
    if (strstr(value, " #"))
        return refuse(p, "has \" #\" in it: a comment here begins with ;");
    if (strstr(value, "//") || has_dots(value))
        return refuse(p, "must be a path without //, . and ..");
    return set_text(key, p, value);
}

static bool set_socket(const struct key *key, struct parse *p,
                       const char *value)
{
    if (strlen(value) >= sizeof(struct sockaddr_un){0}.sun_path)
        return refuse(p, "is too long for a socket (107 bytes at most)");
    return set_path(key, p, value);
}

static bool set_reactors(const struct key *key, struct parse *p,
                         const char *value)
{
    unsigned *reactors = field(key, p);
    char *end;
    unsigned long n;

    if (!strcmp(value, "auto")) {
        *reactors = 0;
        return true;
    }
    n = strtoul(value, &end, 10);
    if (*end || *value < '0' || *value > '9' || n < 1 ||
        n > CONFIG_REACTORS_MAX)
        return refuse(p, "must be auto or a number from 1 to 64");
    *reactors = (unsigned)n;
    return true;
}

static bool set_poll(const struct key *key, struct parse *p, const char *value)
{
    unsigned *spin_us = field(key, p);

    if (!strcmp(value, "auto"))
        *spin_us = SPIN_AUTO_US;
    else if (!strcmp(value, "off"))
        *spin_us = 0;
    else
        return refuse(p, "must be auto or off");
    return true;
}

static bool set_yes_no(const struct key *key, struct parse *p,
                       const char *value)
{
    bool *flag = field(key, p);

    if (strcmp(value, "yes") && strcmp(value, "no"))
        return refuse(p, "must be yes or no");
    *flag = !strcmp(value, "yes");
    return true;
}

static bool set_membership(const struct key *key, struct parse *p,
                           const char *value)
{
    bool *corosync = field(key, p);

    if (strcmp(value, "solo") && strcmp(value, "corosync"))
        return refuse(p, "must be solo or corosync");
    *corosync = !strcmp(value, "corosync");
    return true;
}

/* When a host is to be fenced it is too late to find that it is not there. */
static bool set_program(const struct key *key, struct parse *p,
                        const char *value)
{
    struct stat st;

    if (!set_path(key, p, value))
        return false;
    if (stat(value, &st))
        return refuse(p, strerror(errno));
    if (!S_ISREG(st.st_mode) || access(value, X_OK))
        return refuse(p, "is no program that can be run");
    return true;
}

static bool is_any_address(const struct address *a)
{
    return a->any.sa_family == AF_INET6
               ? IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr)
               : a->v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

/* The other hosts are told it, so it must be one that leads here. */
static bool set_address(const struct key *key, struct parse *p,
                        const char *value)
{
    struct address a;
    struct diag why = {0};

    if (address_parse(value, &a, &why))
        return refuse(p, why.text);
    if (!a.v4.sin_port) /* at the same place in both families */
        return refuse(p, "needs a port from 1 to 65535");
    if (is_any_address(&a))
        return refuse(p, "must be one address of this host, which the others "
                         "can reach");
    address_to_text(&a, field(key, p));
    return true;
}

#define FIELD(name)                                                            \
    offsetof(struct config, name), sizeof(((struct config *)NULL)->name)

/* clang-format off */
static const struct key keys[] = {
    {"host",    "name",         FIELD(host_name),    set_name      },
    {"host",    "root",         FIELD(root),         set_path      },
    {"host",    "control",      FIELD(control),      set_socket    },
    {"host",    "state",        FIELD(state),        set_path      },
    {"host",    "run",          FIELD(run),          set_path      },
    {"host",    "socket_group", FIELD(socket_group), set_name      },
    {"host",    "reactors",     FIELD(reactors),     set_reactors  },
    {"host",    "poll",         FIELD(spin_us),      set_poll      },
    {"host",    "lock_memory",  FIELD(lock_memory),  set_yes_no    },
    {"cluster", "name",         FIELD(cluster_name), set_name      },
    {"cluster", "membership",   FIELD(corosync),     set_membership},
    {"cluster", "listen",       FIELD(listen),       set_address   },
    {"cluster", "key",          FIELD(key),          set_path      },
    {"cluster", "fence_agent",  FIELD(fence_agent),  set_program   },
};
/* clang-format on */

static_assert(ARRAY_LEN(keys) <= 32, "a bit of parse.seen for each");

static const struct key *find_key(const char *section, const char *name,
                                  bool *ret_section_known)
{
    *ret_section_known = false;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(keys[i].section, section))
            continue;
        *ret_section_known = true;
        if (!strcmp(keys[i].name, name))
            return &keys[i];
    }
    return NULL;
}

/* -- [fence], [fence NODE] ------------------------------------------------- */

static const char fence_section[] = "fence";

/* Of a section for the fence agent: the node, "" for all; NULL: it is none. */
static const char *fence_node(const char *section)
{
    size_t len = sizeof fence_section - 1;

    if (strncmp(section, fence_section, len) ||
        (section[len] && section[len] != ' '))
        return NULL;
    section += len;
    return section + strspn(section, " ");
}

static bool is_given(const struct config *config, const char *node,
                     const char *name)
{
    for (unsigned i = 0; i < config->fence_count; i++)
        if (!strcmp(config->fence[i].node, node) &&
            !strcmp(config->fence[i].name, name))
            return true;
    return false;
}

/* What it means knows the agent; but it is one line, and "action" is ours. */
static bool parse_fence(struct parse *p, const char *section, const char *node,
                        const char *name, const char *value)
{
    struct config *config = p->config;
    struct config_fence *to = &config->fence[config->fence_count];

    if (strlen(section) > SECTION_BYTES_MAX)
        return refuse(p, "the name of its section is too long: use the node's "
                         "number");
    if (*section && section[sizeof fence_section - 1] && !is_name(node))
        return refuse(p, "stands in no section of a node: [fence NAME], or "
                         "its number");
    if (!is_name(name) || strlen(name) >= sizeof to->name)
        return refuse(p, "is no name of an option");
    if (!strcmp(name, "action"))
        return refuse(p, "is said by Lunar: off");
    if (!*node && (!strcmp(name, "plug") || !strcmp(name, "port")))
        return refuse(p, "is of one node: it belongs below [fence NODE]");
    if (!*value || strlen(value) >= sizeof to->value)
        return refuse(p, "must not be empty, or as long as this");
    if (is_given(config, node, name))
        return refuse(p, "is given twice");
    if (config->fence_count == CONFIG_FENCE_MAX)
        return refuse(p, "there are too many options: 256 at most");
    memcpy(to->node, node, strlen(node) + 1);
    memcpy(to->name, name, strlen(name) + 1);
    memcpy(to->value, value, strlen(value) + 1);
    config->fence_count++;
    return true;
}

/* The value may be a password: it is not repeated. */
static bool take_fence(struct parse *p, const char *section, const char *node,
                       const char *name, const char *value)
{
    char reason[sizeof p->reason];

    if (parse_fence(p, section, node, name, value))
        return true;
    snprintf(reason, sizeof reason, "%.40s in [%.60s]: %s", name, section,
             p->reason);
    memcpy(p->reason, reason, sizeof reason);
    return false;
}

/* -- the file -------------------------------------------------------------- */

/* inih's callback: 0 makes ini_parse_string() return this line's number. */
static int parse_key(void *arg, const char *section, const char *name,
                     const char *value)
{
    struct parse *p = arg;
    bool section_known;
    const struct key *key = find_key(section, name, &section_known);
    const char *node = fence_node(section);
    char reason[sizeof p->reason];

    if (p->failed)
        return 0;
    p->failed = true;
    if (node)
        p->failed = !take_fence(p, section, node, name, value);
    else if (!*section)
        snprintf(p->reason, sizeof p->reason,
                 "\"%.40s\" stands in no section: begin with [host]", name);
    else if (!section_known)
        snprintf(p->reason, sizeof p->reason,
                 "no section [%.40s] is known: use [host], [cluster] or "
                 "[fence NODE]",
                 section);
    else if (!key)
        snprintf(p->reason, sizeof p->reason,
                 "no key \"%.40s\" is known in [%s]: see lunar.conf(5)", name,
                 section);
    else if (p->seen & 1u << (key - keys))
        snprintf(p->reason, sizeof p->reason, "%s is given twice", name);
    else if (key->set(key, p, value)) {
        p->seen |= 1u << (key - keys);
        p->failed = false;
    } else {
        snprintf(reason, sizeof reason, "%s = %.60s: %s", name, value,
                 p->reason);
        memcpy(p->reason, reason, sizeof reason);
    }
    return !p->failed;
}

void config_default(struct config *ret_config)
{
    *ret_config = (struct config){
        .root = "/ClusterStorage",
        .control = CONTROL_SOCKET,
        .state = "/var/lib/lunar",
        .run = "/run/lunar",
        .spin_us = SPIN_AUTO_US,
        .lock_memory = true,
        .cluster_name = "lunar",
        .key = CLUSTER_KEY_PATH,
    };
    if (gethostname(ret_config->host_name, CONFIG_NAME_BYTES - 1))
        memcpy(ret_config->host_name, "localhost", sizeof "localhost");
}

/* The number of the first line that inih would cut in two; 0: there is none. */
static int find_long_line(const char *text)
{
    enum { ROOM = INI_MAX_LINE - 2 }; /* newline and zero */

    for (int line = 1; *text; line++) {
        size_t len = strcspn(text, "\n");

        if (len > ROOM)
            return line;
        text += len + (text[len] == '\n');
    }
    return 0;
}

/* What several keys must agree on. */
static enum err check_all(const char *path, const struct config *config,
                          struct diag *why)
{
    size_t root = strlen(config->root);

    if (config->corosync && !*config->listen)
        return diag_fail(why, E_CONFIG,
                         "%s: membership = corosync needs listen = "
                         "ADDRESS:PORT in [cluster]: this host's own address "
                         "in the network of the hosts, as 10.77.0.1:5678",
                         path);
    if (config->fence_count && !*config->fence_agent)
        return diag_fail(why, E_CONFIG,
                         "%s: [fence] needs fence_agent = PROGRAM in "
                         "[cluster], as /usr/sbin/fence_ipmilan",
                         path);
    if (!strncmp(config->fence_agent, config->root, root) &&
        config->fence_agent[root] == '/')
        return diag_fail(why, E_CONFIG,
                         "%s: fence_agent is below %s, which may wait for the "
                         "very host that it is to fence",
                         path, config->root);
    return E_OK;
}

enum err config_parse(const char *path, const char *text,
                      struct config *ret_config, struct diag *why)
{
    struct config config;
    enum err e;
    struct parse p = {.path = path, .config = &config, .why = why};
    int line;

    config_default(&config);
    line = find_long_line(text);
    if (line)
        return diag_fail(why, E_CONFIG, "%s:%d: is longer than %d bytes", path,
                         line, INI_MAX_LINE - 2);
    line = ini_parse_string(text, parse_key, &p);
    if (line < 0)
        return diag_fail(why, E_NOMEM, "%s: out of memory", path);
    if (line > 0)
        return diag_fail(why, E_CONFIG, "%s:%d: %s", path, line,
                         p.failed ? p.reason
                                  : "not a [section], a key = value or a "
                                    "; comment");
    e = check_all(path, &config, why);
    if (e)
        return e;
    *ret_config = config;
    return E_OK;
}

static void fclosep(FILE **file)
{
    if (*file)
        fclose(*file);
}

enum err config_load(const char *path, struct config *ret_config,
                     struct diag *why)
{
    enum { FILE_MAX = 65536 }; /* beyond it, it is not our file */
    AUTO(fclosep) FILE *file = fopen(path, "re");
    AUTO(freep) char *text = NULL;
    size_t len;

    if (!file)
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    text = calloc(1, FILE_MAX + 1);
    if (!text)
        return diag_fail(why, E_NOMEM, "%s: out of memory", path);
    len = fread(text, 1, FILE_MAX + 1, file);
    if (ferror(file))
        return diag_fail(why, E_IO, "%s: %s", path, strerror(errno));
    if (len > FILE_MAX || memchr(text, 0, len))
        return diag_fail(why, E_CONFIG, "%s:1: not a text file of lunard",
                         path);
    return config_parse(path, text, ret_config, why);
}
