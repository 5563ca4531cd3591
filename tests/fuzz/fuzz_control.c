/* tests/fuzz/fuzz_control.c - any bytes as a request on the control socket.
 * Every line has an answer, and only commands with what they asked for run.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/control.h"

static enum err run_any(struct control_call *call)
{
    const char *text = control_text(call, "text");

    ASSERT(text);
    call->result = json_pack("{s:s, s:I, s:b}", "text", text, "number",
                             (json_int_t)control_number(call, "number", 0),
                             "flag", control_flag(call, "flag"));
    return *text ? E_OK : diag_fail(&call->why, E_NOENT, "%s", "nothing");
}

static const struct control_command commands[] = {
    {"attach",
     run_any,        {{"text", CONTROL_TEXT, true},
      {"number", CONTROL_NUMBER, false},
      {"flag", CONTROL_FLAG, false}}},
    {NULL,     NULL, {{.name = NULL}}            },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct control_args args = {.commands = commands};
    json_t *answer = control_answer(&args, -1, (const char *)data, size);

    ASSERT(json_is_boolean(json_object_get(answer, "ok")));
    json_decref(answer);
    return 0;
}
