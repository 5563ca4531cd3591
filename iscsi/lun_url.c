/* iscsi/lun_url.c - what a LUN URL says.  Pure: opens and resolves nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_url.h"

#include <stdio.h>
#include <string.h>

/* A part of the text, not terminated. */
struct span {
    const char *at;
    size_t bytes;
};

/* The part before the first of `stops`; the rest stays in *text. */
static struct span take_until(const char **text, const char *stops)
{
    struct span part = {*text, strcspn(*text, stops)};

    *text += part.bytes;
    return part;
}

static enum err copy_span(struct span part, char *out, size_t room,
                          const char *what, struct diag *why)
{
    if (!part.bytes)
        return diag_fail(why, E_URL, "LUN URL: the %s is empty", what);
    if (part.bytes >= room)
        return diag_fail(why, E_URL, "LUN URL: the %s is longer than %zu bytes",
                         what, room - 1);
    for (size_t i = 0; i < part.bytes; i++)
        if ((unsigned char)part.at[i] <= ' ' || part.at[i] == 0x7f)
            return diag_fail(why, E_URL,
                             "LUN URL: the %s has a blank or control character",
                             what);
    memcpy(out, part.at, part.bytes);
    out[part.bytes] = '\0';
    return E_OK;
}

static enum err parse_number(struct span part, uint32_t min, uint32_t max,
                             const char *what, struct diag *why,
                             uint32_t *ret_number)
{
    uint32_t n = 0;
    bool good = part.bytes > 0 && part.bytes <= 5;

    for (size_t i = 0; good && i < part.bytes; i++) {
        good = part.at[i] >= '0' && part.at[i] <= '9';
        n = n * 10 + (uint32_t)(part.at[i] - '0');
    }
    if (!good || n < min || n > max)
        return diag_fail(why, E_URL,
                         "LUN URL: the %s must be a number from %u to %u, "
                         "not \"%.*s\"",
                         what, min, max, (int)min_u64(part.bytes, 40), part.at);
    *ret_number = n;
    return E_OK;
}

static enum err parse_path(const char *path, struct diag *why,
                           struct lun_url *url)
{
    size_t bytes = strlen(path);

    if (!bytes)
        return diag_fail(why, E_URL,
                         "LUN URL: the path after \"file:\" is "
                         "missing");
    if (bytes >= sizeof url->path)
        return diag_fail(why, E_URL,
                         "LUN URL: the path is longer than %zu "
                         "bytes",
                         sizeof url->path - 1);
    url->kind = LUN_URL_FILE;
    memcpy(url->path, path, bytes + 1);
    return E_OK;
}

/* user[%password]@ ; a password may contain '@', so the last one counts. */
static enum err parse_login(const char **text, struct diag *why,
                            struct lun_url *url)
{
    const char *end = *text + strcspn(*text, "/");
    const char *at = memrchr(*text, '@', (size_t)(end - *text));
    struct span user, password;
    enum err e;

    if (!at)
        return E_OK;
    user = (struct span){*text, (size_t)(at - *text)};
    password.at = memchr(user.at, '%', user.bytes);
    if (password.at) {
        user.bytes = (size_t)(password.at - user.at);
        password.at++;
        password.bytes = (size_t)(at - password.at);
        e = copy_span(password, url->password, sizeof url->password, "password",
                      why);
        if (e)
            return e;
    }
    *text = at + 1;
    return copy_span(user, url->user, sizeof url->user, "user", why);
}

/* A name or an address, and nothing that would have to be quoted. */
static enum err check_host(const char *host, struct diag *why)
{
    size_t good = strspn(host, "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%");

    if (!host[good])
        return E_OK;
    return diag_fail(why, E_URL,
                     "LUN URL: the host has \"%.4s\" in it: a name or an "
                     "address is expected",
                     host + good);
}

/* host[:port] or [v6][:port] */
static enum err parse_portal(const char **text, struct diag *why,
                             struct lun_url *url)
{
    uint32_t port = ISCSI_PORT;
    struct span host;
    enum err e;

    if (**text == '[') {
        ++*text;
        host = take_until(text, "]/");
        if (**text != ']')
            return diag_fail(why, E_URL, "LUN URL: no ']' after the address");
        ++*text;
    } else {
        host = take_until(text, ":/");
    }
    e = copy_span(host, url->host, sizeof url->host, "host", why);
    if (!e)
        e = check_host(url->host, why);
    if (e)
        return e;
    if (**text == ':') {
        ++*text;
        e = parse_number(take_until(text, "/"), 1, UINT16_MAX, "port", why,
                         &port);
        if (e)
            return e;
    }
    url->port = (uint16_t)port;
    if (**text != '/')
        return diag_fail(why, E_URL,
                         "LUN URL: expected "
                         "iscsi://host[:port]/target-name/lun");
    ++*text;
    return E_OK;
}

/* RFC 7143 4.2.7: iqn., eui. or naa., then lower case, digits, '-', '.', ':'.
 * Upper case is accepted, as targets compare without case. */
static enum err parse_target(const char **text, struct diag *why,
                             struct lun_url *url)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:_";
    struct span name = take_until(text, "/?");
    enum err e =
        copy_span(name, url->target, sizeof url->target, "target name", why);

    if (e)
        return e;
    if ((strncasecmp(url->target, "iqn.", 4) &&
         strncasecmp(url->target, "eui.", 4) &&
         strncasecmp(url->target, "naa.", 4)) ||
        url->target[strspn(url->target, letters)])
        return diag_fail(why, E_URL,
                         "LUN URL: \"%s\" is not an iSCSI name "
                         "(iqn.…, eui.… or naa.…)",
                         url->target);
    if (**text != '/')
        return diag_fail(why, E_URL,
                         "LUN URL: the LUN number after the target name is "
                         "missing");
    ++*text;
    return parse_number(take_until(text, "?"), 0, LUN_URL_LUN_MAX, "LUN", why,
                        &url->lun);
}

/* ?target_user=…&target_password=… */
static enum err parse_options(const char *text, struct diag *why,
                              struct lun_url *url)
{
    const struct {
        const char *name, *what;
        char *out;
    } rows[] = {
        {"target_user",     "target_user",     url->target_user    },
        {"target_password", "target_password", url->target_password},
    };

    while (*text) {
        struct span name, value;
        size_t i = 0;
        enum err e;

        text++; /* '?' or '&' */
        name = take_until(&text, "=&");
        while (i < ARRAY_LEN(rows) &&
               (strlen(rows[i].name) != name.bytes ||
                memcmp(rows[i].name, name.at, name.bytes)))
            i++;
        if (i == ARRAY_LEN(rows) || *text != '=')
            return diag_fail(why, E_URL,
                             "LUN URL: after '?' only target_user=… and "
                             "target_password=… are known");
        text++;
        value = take_until(&text, "&");
        e = copy_span(value, rows[i].out, LUN_URL_SECRET_BYTES, rows[i].what,
                      why);
        if (e)
            return e;
    }
    if (!url->target_user[0] != !url->target_password[0])
        return diag_fail(why, E_URL,
                         "LUN URL: target_user and "
                         "target_password come together");
    if (url->target_user[0] && !url->user[0])
        return diag_fail(why, E_URL, "LUN URL: mutual CHAP needs a user, too");
    return E_OK;
}

static enum err parse_iscsi(const char *text, struct diag *why,
                            struct lun_url *url)
{
    enum err e = parse_login(&text, why, url);

    url->kind = LUN_URL_ISCSI;
    if (!e)
        e = parse_portal(&text, why, url);
    if (!e)
        e = parse_target(&text, why, url);
    if (!e)
        e = parse_options(text, why, url);
    return e;
}

enum err lun_url_parse(const char *text, struct diag *why,
                       struct lun_url *ret_url)
{
    AUTO(freep) struct lun_url *url = calloc(1, sizeof *url);
    enum err e;

    if (!url)
        return E_NOMEM;
    if (strncmp(text, "file:", 5) == 0)
        e = parse_path(text + 5, why, url);
    else if (strncmp(text, "/dev/", 5) == 0 && text[5])
        e = parse_path(text, why, url);
    else if (strncmp(text, "iscsi://", 8) == 0)
        e = parse_iscsi(text + 8, why, url);
    else
        /* Only up to the colon: behind it may be a secret. */
        e = diag_fail(why, E_URL,
                      "\"%.*s\" is not a LUN URL: write file:PATH, /dev/NAME "
                      "or iscsi://host[:port]/target-name/lun",
                      (int)min_u64(strcspn(text, ":"), 80), text);
    if (!e)
        *ret_url = *url;
    explicit_bzero(url, sizeof *url);
    return e;
}

void lun_url_to_text(const struct lun_url *url, char out[LUN_URL_TEXT_BYTES])
{
    const char *open = strchr(url->host, ':') ? "[" : "";
    const char *close = *open ? "]" : "";
    bool bare = strncmp(url->path, "/dev/", 5) == 0 && url->path[5];

    if (url->kind == LUN_URL_FILE)
        snprintf(out, LUN_URL_TEXT_BYTES, "%s%s",
                 bare ? "" : "file:", url->path);
    else
        snprintf(out, LUN_URL_TEXT_BYTES, "iscsi://%s%s%s:%u/%s/%u", open,
                 url->host, close, url->port, url->target, url->lun);
}
