#!/bin/bash
# tests/lint/selftest.sh - each lint finds what it is for, and nothing else.
# Works on small trees of its own, never on this one.
# SPDX-License-Identifier: LGPL-2.1-or-later
set -u
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d "${TMPDIR:-/tmp}/lunar-lint.XXXXXX")
trap 'rm -rf "$tree"' EXIT
tried=0 wrong=0
spdx="SPDX-License-Identifier: LGPL-2.1-or-later"

# A tree in which all is well.
good_tree() {
    rm -rf "$tree"
    mkdir -p "$tree"/docs "$tree"/base "$tree"/vhd "$tree"/fs
    cp "$here/../../.clang-format" "$here/../../docs/layers.txt" "$tree/docs"
    mv "$tree/docs/.clang-format" "$tree"
    printf 'demo: ## try\n# %s\n' "$spdx" >"$tree/Makefile"
    echo 'See `base/base.h`, [the rows](layers.txt), `make demo`.' \
        >"$tree/docs/page.md"
    echo '**I1** All is well.' >"$tree/docs/invariants.md"
    file base/base.h "/* base/base.h - words.
 *
 *   base.h   all of it
 * $spdx */
int base_answer(void);"
    file base/base.c "/* base/base.c - the answer: see docs/page.md.
 * $spdx */
#include \"base/base.h\"

int base_answer(void)
{
    return 42; /* not sprintf(), time() nor a tab */
}"
    file vhd/vhd.h "/* vhd - disks.
 *
 *   vhd.h    all of it
 * $spdx */
#include \"base/base.h\""
    file vhd/vhd.c "/* vhd/vhd.c - nothing.
 * $spdx */
#include \"vhd/vhd.h\""
}

file() { # PATH TEXT
    mkdir -p "$tree/$(dirname "$1")"
    printf '%s\n' "$2" >"$tree/$1"
}

passes() { # LINT
    tried=$((tried + 1))
    said=$("$here/$1.sh" "$tree" 2>&1) && [ -z "$said" ] && return
    wrong=$((wrong + 1))
    echo "$1 complains about a good tree: $said"
}

finds() { # LINT PART OF ITS MESSAGE
    tried=$((tried + 1))
    if said=$("$here/$1.sh" "$tree" 2>&1); then
        wrong=$((wrong + 1))
        echo "$1 passes what should be: $2"
    elif [[ $said != *"$2"* ]]; then
        wrong=$((wrong + 1))
        echo "$1 should say: $2"
        echo "       it says: $said"
    elif [ "$(echo "$said" | wc -l)" -gt "${3:-1}" ]; then
        wrong=$((wrong + 1))
        echo "$1 says too much: $said"
    fi
    good_tree
}

# A source file of vhd/ that is fine but for these lines.
vhd_file() { # LINES
    file vhd/bad.c "/* vhd/bad.c - a bad example.
 * $spdx */
$1"
}

good_tree
for lint in layers tidy format pages model; do
    passes $lint
done

# -- model: the code's states and the model's
states_of() { # STATE...
    for machine in nexus fence takeover; do
        file lockmgr/$machine.h "/* lockmgr/$machine.h - states"
    done
    { echo '#define NEXUS_STATES(X) \\' && printf 'X(%s, "") \\\n' "$@"; } \
        >"$tree/lockmgr/nexus.h"
}

states_of NEXUS_DOWN NEXUS_OPEN
file tests/model/names.txt 'NEXUS_OPEN   nobody opens it'
file tests/model/a.pml 'NEXUS_DOWN'
passes model
states_of NEXUS_DOWN NEXUS_OPEN
file tests/model/names.txt ''
file tests/model/a.pml 'NEXUS_DOWN /* NEXUS_OPEN */'
finds model "NEXUS_OPEN: neither in tests/model/*.pml nor in names.txt"

states_of NEXUS_DOWN
file tests/model/names.txt ''
file tests/model/a.pml 'NEXUS_DOWN NEXUS_UP'
finds model "NEXUS_UP: the code has no such state"

# -- layers
vhd_file '#include "fs/fs.h"'
file fs/fs.h "/* fs - files */"
finds layers "vhd/bad.c:3: vhd may not include fs"

file base/bad.c '#include "vhd/vhd.h"'
finds layers "base/bad.c:1: base may not include vhd"

file vhd/inner.h "/* vhd/inner.h - inside"
file iscsi/iscsi.h '/* iscsi - SCSI'
file iscsi/bad.h '#include "vhd/inner.h"'
finds layers 'iscsi/bad.h:1: outside of vhd it is vhd/vhd.h'

vhd_file '#include "vhd.h"'
finds layers "vhd/bad.c:3: no file vhd.h"

vhd_file '#include "tests/lib/test.h"'
file tests/lib/test.h ""
finds layers "vhd/bad.c:3: a layer may not include tests/lib/test.h"

file vhd/inner.h "/* vhd/inner.h - inside"
file tests/unit/fs/test_bad.c '#include "vhd/inner.h"'
finds layers "tests/unit/fs/test_bad.c:1: a test of fs sees vhd as vhd/vhd.h"

rm "$tree/vhd/vhd.h" "$tree/vhd/vhd.c"
file vhd/lonely.c ""
finds layers "vhd: no vhd/vhd.h"

file vhd/vhd.h "/* vhd - no map here. */"
finds layers "vhd/vhd.h:2: does not start with a map"

# -- tidy
vhd_file "int far = $(printf %069d 1);"
passes tidy
vhd_file "int far = $(printf %070d 1);"
finds tidy "vhd/bad.c:3: longer than 80 columns"
vhd_file "int table[] = {
    {\"$(printf %0111d 1)\"},
};"
passes tidy
vhd_file "int table[] = {
    {\"$(printf %0112d 1)\"},
};"
finds tidy "vhd/bad.c:4: longer than 80 columns"
vhd_file "/* $(yes ä | head -n 74 | tr -d '\n') */"
passes tidy
vhd_file "int a; "
finds tidy "vhd/bad.c:3: white space at the end"
vhd_file "	int a;"
finds tidy "vhd/bad.c:3: a tab"
vhd_file "int a; // no"
finds tidy "vhd/bad.c:3: a // comment"
vhd_file 'const char *url = "http://x"; /* a // b */'
passes tidy
vhd_file "/* TODO: later */"
finds tidy "vhd/bad.c:3: a mark without the number"
vhd_file "/* TODO(#12): later */"
passes tidy
vhd_file "typedef struct bad bad_t;"
finds tidy "vhd/bad.c:3: a typedef of a struct"
vhd_file "extern int elsewhere;"
finds tidy "vhd/bad.c:3: a declaration that belongs into a header"
file vhd/vhd.h "/* vhd - $spdx */
#ifndef VHD_H
#define VHD_H
#endif"
finds tidy "vhd/vhd.h:2: the guard of this header is LUNAR_VHD_VHD_H"
for call in strcpy strcat sprintf vsprintf strtok gets atoi sscanf rand \
    assert; do
    vhd_file "int x = $call(y);"
    finds tidy "vhd/bad.c:3: $call() is not used here"
done
for call in time gettimeofday clock_gettime; do
    vhd_file "long x = $call(0);"
    finds tidy "vhd/bad.c:3: $call() bypasses base/clock.h"
done
vhd_file 'const char *x = "sprintf(time(0))"; /*
sprintf( */ int y = a.time(1) + a->time(2) + my_time(3) + snprintf(4);'
passes tidy
vhd_file "int f(void)
{
$(yes '    work();' | head -n 68)
}"
passes tidy
vhd_file "int f(void)
{
$(yes '    work();' | head -n 69)
}"
finds tidy "vhd/bad.c:4: the function has 71 lines"
vhd_file "$(yes 'int a;' | head -n 799)"
finds tidy "vhd/bad.c:801: the file is longer than 800 lines"
file vhd/bad.c "/* vhd/bad.c - no licence. */"
finds tidy "vhd/bad.c:1: no SPDX-License-Identifier"
file vhd/bad.c "/* vhd/good.c - a copy. $spdx */"
finds tidy 'vhd/bad.c:1: does not start with "/* vhd/bad.c - '
file tests/system/test_x.sh "#!/bin/sh
# $spdx"
finds tidy 'test_x.sh:2: the second line is not "# tests/system/test_x.sh - '
file vhd/inner.h "/* vhd/inner.h - $spdx */"
finds tidy "vhd/inner.h: nothing includes it"
file vhd/more/deep.c "/* vhd/more/deep.c - $spdx */"
finds tidy "vhd/more/deep.c: no rule of the Makefile compiles it"
file lost/lost.c "/* lost/lost.c - $spdx */"
finds tidy "lost/lost.c: no rule of the Makefile compiles it"
file tests/fuzz/fuzz_bat.c "/* tests/fuzz/fuzz_bat.c - $spdx */"
finds tidy "tests/fuzz/fuzz_bat.c: no seeds in tests/fuzz/corpus/bat"
mkdir -p "$tree/tests/fuzz/corpus/bat"
finds tidy "tests/fuzz/corpus/bat/: no tests/fuzz/fuzz_bat.c"

# -- format
vhd_file "int  a;"
finds format "vhd/bad.c:3:4: error: code should be clang-formatted"

# -- pages
file docs/page.md "See [it](none.md)."
finds pages "docs/page.md:1: there is no docs/none.md"
file docs/page.md 'See `vhd/none.c`.'
finds pages "docs/page.md:1: there is no vhd/none.c"
vhd_file "/* see docs/none.md */"
finds pages "vhd/bad.c:3: there is no docs/none.md"
vhd_file "/* I1 holds */
/* I99: this too */"
finds pages "vhd/bad.c:4: I99 is not in docs/invariants.md"
file docs/page.md 'Say `make haste`.'
finds pages "docs/page.md:1: no make haste"

echo "$tried examples, $wrong wrong"
[ $wrong = 0 ]
