# tests/lint/tidy.awk - one pass over the lines of all files for tidy.sh.
# Prints "path:line: what is wrong" and exits 1 if there was anything.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Length limits count characters, not bytes: continuation bytes of UTF-8 are
# taken out first.  (LC_ALL=C, any awk.)

BEGIN {
    COLUMNS = 80
    ROW_COLUMNS = 120
    FUNCTION_LINES = 70
    FILE_LINES = 800
    SPDX_WITHIN = 45

    # A call that is not used here, and what is used instead.
    banned["strcpy"] = "snprintf or memcpy"
    banned["strcat"] = "snprintf or struct buf"
    banned["sprintf"] = "snprintf"
    banned["vsprintf"] = "vsnprintf"
    banned["strtok"] = "strtok_r or a cursor"
    banned["gets"] = "fgets"
    banned["atoi"] = banned["atol"] = banned["atoll"] = "strtoull, checked"
    banned["atof"] = "strtod, checked"
    banned["scanf"] = banned["sscanf"] = "a parser that reports where"
    banned["alloca"] = "a bounded array or malloc"
    banned["rand"] = banned["random"] = banned["srand"] = "getrandom"
    banned["assert"] = "ASSERT, which stays in release builds"
    clock["time"] = clock["gettimeofday"] = clock["clock_gettime"] = 1
}

function complain(line, what) {
    print file ":" line ": " what
    bad = 1
}

function end_of_file() {
    if (!file)
        return
    if (lines > FILE_LINES)
        complain(lines, "the file is longer than " FILE_LINES " lines")
    if (!spdx)
        complain(1, "no SPDX-License-Identifier in the first comment")
}

# fs/fs.h may start with "/* fs - " instead: it speaks for the folder.
function speaks_for_folder(   part, n, folder) {
    n = split(file, part, "/")
    folder = file
    sub(/\/[^\/]*$/, "", folder)
    return n > 1 && part[n] == part[n - 1] ".h" &&
        index($0, "/* " folder " - ") == 1
}

FNR == 1 {
    end_of_file()
    file = FILENAME
    lines = spdx = in_comment = body = 0
    guard = ""
    is_c = file ~ /\.[chx]$/
    is_sh = file ~ /\.sh$/ || file ~ /\/run$/
    is_make = file ~ /Makefile$/
}

{
    lines = FNR
    text = $0
    gsub(/[\200-\277]/, "", text)
    # clang-format pads the rows of a table past the margin.
    is_row = is_c && length(text) <= ROW_COLUMNS &&
        text ~ /^ +[\[{"].*\}[,;]?( \/\*.*\*\/)?$/
    if (length(text) > COLUMNS && !is_row && !(is_make && text ~ /^[^#]/))
        complain(FNR, "longer than " COLUMNS " columns")
    if (text ~ /[ \t]$/)
        complain(FNR, "white space at the end")
    if (is_c && text ~ /\t/)
        complain(FNR, "a tab")
    if (FNR <= SPDX_WITHIN && /SPDX-License-Identifier: LGPL-2\.1-or-later/)
        spdx = 1
    if (/(^|[^A-Za-z])(TODO|FIXME|XXX|HACK)([^A-Za-z]|$)/ && !/#[0-9]/ &&
        file !~ /^tests\/lint\//)
        complain(FNR, "a mark without the number of its issue")
}

# -- the leading comment names the file, so that it cannot be a copy's
FNR == 1 && is_c && index($0, "/* " file " - ") != 1 &&
    !speaks_for_folder() {
    complain(1, "does not start with \"/* " file " - why it exists\"")
}
FNR == 2 && is_sh && index($0, "# " file " - ") != 1 && first !~ "^# " file {
    complain(2, "the second line is not \"# " file " - why it exists\"")
}
FNR == 1 { first = $0 }

!is_c { next }

# -- from here on: C without comments and strings
{
    gsub(/\\\\/, "", text)
    gsub(/\\"/, "", text)
    gsub(/'"'/, "", text)
    gsub(/"[^"]*"/, "\"\"", text)
    code = ""
    while (text != "") {
        if (in_comment) {
            at = index(text, "*/")
            if (!at)
                break
            text = substr(text, at + 2)
            in_comment = 0
        } else {
            at = index(text, "/*")
            slashes = index(text, "//")
            if (slashes && (!at || slashes < at))
                complain(FNR, "a // comment")
            if (!at) {
                code = code text
                break
            }
            code = code substr(text, 1, at - 1)
            text = substr(text, at + 2)
            in_comment = 1
        }
    }
}

code ~ /^\{/ { body = FNR }
code ~ /^\}/ && body {
    if (FNR - body + 1 > FUNCTION_LINES)
        complain(body, "the function has " FNR - body + 1 " lines; " \
            FUNCTION_LINES " are allowed")
    body = 0
}

code ~ /^typedef struct [a-z_0-9]+ / && file != "base/endian.h" {
    complain(FNR, "a typedef of a struct")
}

file ~ /\.h$/ && !guard && code ~ /^#ifndef / {
    guard = "LUNAR_" toupper(file)
    gsub(/[^A-Z0-9_]/, "_", guard)
    if ($2 != guard)
        complain(FNR, "the guard of this header is " guard)
}

code ~ /^extern / && file ~ /\.c$/ {
    complain(FNR, "a declaration that belongs into a header")
}

# Every word that is followed by a parenthesis.
{
    rest = code
    while (match(rest, /[A-Za-z_][A-Za-z_0-9]* ?\(/)) {
        before = RSTART > 1 ? substr(rest, RSTART - 1, 1) : ""
        word = substr(rest, RSTART, RLENGTH - 1)
        sub(/ $/, "", word)
        rest = substr(rest, RSTART + RLENGTH)
        if (before == "." || before == ">")     # a member of that name
            continue
        if (word in banned)
            complain(FNR, word "() is not used here: " banned[word])
        if (word in clock && file != "base/clock.c")
            complain(FNR, word "() bypasses base/clock.h")
    }
}

END {
    end_of_file()
    exit bad
}
