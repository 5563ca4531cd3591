/* tests/tools/sanproxy/record.c - the file with a line for each command.
 * It is kept below a bound: the older half of the lines is in PATH.old.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/sanproxy/sanproxy.h"

#include <stdarg.h>
#include <string.h>

enum { RECORD_MAX_BYTES = 64 << 20 };

enum err record_open(struct proxy *p, struct diag *why)
{
    p->record = fopen(p->record_path, "we");
    p->record_bytes = 0;
    if (!p->record)
        return diag_fail(why, err_from_errno(errno), "%s: %s", p->record_path,
                         strerror(errno));
    setvbuf(p->record, NULL, _IOLBF, 0);
    return E_OK;
}

static void start_anew(struct proxy *p)
{
    AUTO(buf_fini) struct buf old = {0};

    buf_printf(&old, "%s.old", p->record_path);
    fclose(p->record);
    p->record = NULL;
    if (rename(p->record_path, buf_text(&old)))
        perror(buf_text(&old));
    if (record_open(p, NULL))
        perror(p->record_path);
}

void record(struct proxy *p, const char *fmt, ...)
{
    uint64_t at_ns = clock_now_ns(clock_system()) - p->start_ns;
    va_list list;
    int n;

    if (!p->record)
        return;
    n = fprintf(p->record, "%.6f ", (double)at_ns / (double)NS_PER_S);
    p->record_bytes += n > 0 ? (unsigned)n : 0;
    va_start(list, fmt);
    n = vfprintf(p->record, fmt, list);
    va_end(list);
    p->record_bytes += n > 0 ? (unsigned)n : 0;
    fputc('\n', p->record);
    if (p->record_bytes > RECORD_MAX_BYTES / 2)
        start_anew(p);
}

void command_to_text(const struct pdu_task *what, unsigned link, uint32_t itt,
                     struct buf *text)
{
    buf_add_text(text, what->name);
    if (what->has_range)
        buf_printf(text, " lba=%llu blocks=%u", (unsigned long long)what->lba,
                   what->blocks);
    buf_printf(text, " opcode=%02x conn=%u itt=%08x", what->opcode, link, itt);
}
