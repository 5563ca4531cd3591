/* base/log.h - one line per event, for people.
 * Only edges use it (main, front ends); libraries return a reason instead.
 *
 * Lines go to standard error; where that is the journal or a file, each
 * begins with its level as systemd reads it: "<3>volume alpha: …".  A line
 * said again and again is said once, then counted.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_LOG_H
#define LUNAR_BASE_LOG_H

#include "base/base.h"

/* syslog's numbers */
enum log_level { LOG_ERROR = 3, LOG_WARNING = 4, LOG_INFO = 6 };

/* Write one line, no newline in fmt.  Any thread. */
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...)   log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)

#endif
