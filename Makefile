# Lunar.  `make help` lists the targets; docs/building.md explains them.
# Variants never mix: everything that is made lands in build/<variant>/.
# SPDX-License-Identifier: LGPL-2.1-or-later

VARIANT ?= release
B       := build/$(VARIANT)
LAYERS  := base lockmgr vhd fs iscsi hotplug lunard
Q       := $(if $(V),,@)
silent  := $(findstring s,$(firstword -$(MAKEFLAGS)))
say      = $(if $(V)$(silent),,@printf '  %-7s %s\n' $(1) $(2))

# -- compilers and flags --------------------------------------------------
CC       = $(CC_$(VARIANT))
CC_release := gcc
CC_debug   := gcc
CC_asan    := gcc
CC_tsan    := gcc
CC_valgrind := gcc
CC_clang   := clang
CC_fuzz    := clang

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wpointer-arith -Wwrite-strings -Wcast-qual \
	-Wconversion -Wno-sign-conversion -Wundef -Wvla -Walloca -Wformat=2 \
	-Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Werror
# snprintf() into a bounded diagnostic cuts it off: that is what it is for.
WARN_gcc := -Wno-format-truncation -Wlogical-op -Wduplicated-cond -Wduplicated-branches
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong

FLAGS_release := -O2 $(HARDEN)
FLAGS_clang   := -O2 $(HARDEN)
FLAGS_debug   := -O0 -DLUNAR_DEBUG
FLAGS_asan    := -O1 -DLUNAR_DEBUG -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined -fno-omit-frame-pointer
FLAGS_valgrind := -O1 -DLUNAR_DEBUG -DLUNAR_VALGRIND
FLAGS_tsan    := -O1 -Wno-tsan -fsanitize=thread -fno-omit-frame-pointer
FLAGS_fuzz    := -O1 -DLUNAR_DEBUG -fsanitize=fuzzer-no-link,address,undefined \
	-fno-omit-frame-pointer

CPPFLAGS := -iquote . -I$(B)/gen -isystem /usr/include/tirpc \
	-isystem /usr/include/fuse3 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
CFLAGS   := -std=gnu17 -g -pthread -fno-common -fno-strict-aliasing \
	$(WARN) $(if $(filter gcc,$(CC)),$(WARN_gcc)) $(FLAGS_$(VARIANT))
LDFLAGS  := -pthread $(FLAGS_$(VARIANT)) -Wl,-z,relro,-z,now
LIBS     := -lfuse3 -laio -liscsi -lsqlite3 -ljansson -linih -ltirpc -lz \
	-lssl -lcrypto -lcpg -lquorum -lvotequorum -lcorosync_common

# -- what is built --------------------------------------------------------
MAINS   := lunard/main_lunard.c lunard/main_lunar.c
SRC     := $(filter-out $(MAINS),$(wildcard $(LAYERS:%=%/*.c)))
XDR     := $(wildcard fs/*.x lunard/*.x)
GEN_H   := $(XDR:%.x=$(B)/gen/%.h)
GEN_C   := $(XDR:%.x=$(B)/gen/%_xdr.c)
OBJ     := $(SRC:%.c=$(B)/%.o) $(GEN_C:%.c=%.o)
LIB     := $(B)/liblunar.a
BIN     := $(if $(wildcard lunard/main_lunard.c),$(B)/bin/lunard) \
	$(if $(wildcard lunard/main_lunar.c),$(B)/bin/lunar)
UNITS   := $(patsubst tests/unit/%/,$(B)/tests/unit_%,$(wildcard tests/unit/*/))
TESTLIB := $(B)/tests/libtest.a
SIMLIB  := $(B)/tests/libsim.a
SIM     := $(B)/sim
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
TOOLS   := $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c)) \
	$(patsubst tests/tools/%/,$(B)/tools/%,$(wildcard tests/tools/*/)) \
	$(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/*.c))

.PHONY: all tests tools fuzzers
all: $(LIB) $(BIN)  ## lunard and lunar (the default)
tests: $(UNITS) $(SIM) ## unit test programs and the simulator, not run
tools: $(TOOLS)     ## helpers of system tests and benches; for tests/lab/lab, too
fuzzers: $(FUZZERS) ## with VARIANT=fuzz
all tests tools fuzzers:
	@:

# Asked by tests/run.
.PHONY: cc units fuzzer-list
cc:
	@echo $(CC)
units:
	@echo $(UNITS)
fuzzer-list:
	@echo $(patsubst tests/fuzz/%.c,build/fuzz/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

# -- how ------------------------------------------------------------------
$(LIB): $(OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(TESTLIB): $(patsubst %.c,$(B)/%.o,$(wildcard tests/lib/*.c))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(SIMLIB): $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(wildcard tests/sim/*.c)))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(SIM): $(B)/tests/sim/main.o $(SIMLIB) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/bin/lunard: $(B)/lunard/main_lunard.o $(LIB)
$(B)/bin/lunar: $(B)/lunard/main_lunar.o $(LIB)
$(B)/bin/lunard $(B)/bin/lunar:
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

.SECONDEXPANSION:
c_objects = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)/*.c))
$(B)/tests/unit_sim: $(SIMLIB)
$(UNITS): $(B)/tests/unit_%: $$(call c_objects,tests/unit/$$*) $(TESTLIB) $(LIB)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %/libsim.a,$^) \
	$(TESTLIB) $(LIB) -lcunit $(LIBS)

$(FUZZERS): $(B)/fuzz/%: $(B)/tests/fuzz/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ \
	    $(filter %.o,$^) $(LIB) $(LIBS)
# A parser that is part of a tool.
$(B)/fuzz/fuzz_san_pdu: $(B)/tests/tools/sanproxy/pdu.o

# A tool is tests/tools/NAME.c, or all of tests/tools/NAME/.
$(B)/tools/%: $$(or $$(call c_objects,tests/tools/$$*),$(B)/tests/tools/$$*.o) $(LIB)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/bench/%: $(B)/bench/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# Flags are part of what is made: a changed Makefile makes all anew.
$(B)/%.o: %.c Makefile | $(GEN_H)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

.SECONDARY: $(GEN_H) $(GEN_C)
$(B)/gen/%.h: %.x
	$(Q)mkdir -p $(@D) && rm -f $@ && cd $(*D) && rpcgen -h -o $(CURDIR)/$@ $(*F).x
$(B)/gen/%_xdr.c: %.x $(B)/gen/%.h
	$(Q)mkdir -p $(@D) && rm -f $@ && cd $(*D) && rpcgen -c -o $(CURDIR)/$@ $(*F).x
$(B)/gen/%.o: $(B)/gen/%.c
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) -I$(@D) $(filter-out -Werror,$(CFLAGS)) -w -MMD -MP -c -o $@ $<

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# -- try it ---------------------------------------------------------------
FUZZ_SECONDS ?= 60
DEPS := @tests/lib/deps.sh build
RUN  := @tests/run

.PHONY: deps demo check check-full unit asan tsan valgrind clang fuzz sim model \
	system bench lint fmt install uninstall clean help
deps:       ## install every Debian package that any target here needs
	$(DEPS) check demo bench full
demo:       ## from a LUN to a disk in a running guest, each step printed
	$(DEPS) demo
	@$(MAKE) --no-print-directory -j$(shell nproc) all tools
	@tests/demo/demo.sh
	@tests/demo/cluster.sh
check:      ## what must pass before anything lands (15 minutes)
	$(DEPS) check
	$(RUN) build lint unit asan sim fuzz system
check-full: ## check, and more: model, tsan, valgrind, mutants, 100 kills
	$(DEPS) full
	@KILLS=100 CYCLES=200 HOSTS=16 OPS=20000 PING_PONG=fetch \
	    SYSTEM_LIMIT_S=3600 tests/run build lint model:full cppcheck unit asan \
	    tsan valgrind sim:1000 mutants system fuzz:$(FUZZ_SECONDS)
unit:       ## unit tests
	$(RUN) unit
asan:       ## unit tests under address and undefined behaviour sanitizers
	$(RUN) asan
tsan:       ## unit tests under the thread sanitizer
	$(RUN) tsan
valgrind:   ## unit tests under valgrind
	$(RUN) valgrind
system:     ## system tests; T=part of a name chooses some
	$(RUN) system$(if $(T),:$(T))
sim:        ## many hosts in one process: SEEDS (500) of each scenario
	$(RUN) sim:$(or $(SEEDS),500)
clang:      ## all of it with clang
	$(RUN) build
fuzz:       ## each fuzzer for FUZZ_SECONDS (60)
	$(DEPS) check
	$(RUN) fuzz:$(FUZZ_SECONDS)
bench:      ## figures, side by side with what there is elsewhere
	$(DEPS) bench
	@$(MAKE) --no-print-directory -j$(shell nproc) all tools
	@bench/run.sh
model:      ## Spin proves the rules of takeover and fencing; R=a row of run.sh
	$(DEPS) check
	@tests/model/run.sh $(R)
lint:       ## layers, tidiness, format, pages
	$(RUN) lint
fmt:        ## format every C file
	@tests/lint/format.sh --fix

# -- install --------------------------------------------------------------
PREFIX  ?= /usr/local
DESTDIR ?=
UNITDIR ?= $(PREFIX)/lib/systemd/system
MAN     := $(wildcard docs/man/*.[1-8])
UNIT    := $(wildcard lunard/*.service)

TO      := $(DESTDIR)$(PREFIX)

install: all ## below PREFIX (/usr/local), itself below DESTDIR
	install -D -m 755 $(B)/bin/lunard $(TO)/sbin/lunard
	install -D -m 755 $(B)/bin/lunar $(TO)/bin/lunar
	for page in $(MAN); do install -D -m 644 $$page \
	    $(TO)/share/man/man$${page##*.}/$${page##*/} || exit; done
	for unit in $(UNIT); do install -d $(DESTDIR)$(UNITDIR) && \
	    sed 's,/usr/sbin/,$(PREFIX)/sbin/,' $$unit \
	    >$(DESTDIR)$(UNITDIR)/$${unit##*/} || exit; done
	install -d $(TO)/share/doc/lunar/examples
	install -m 644 docs/examples/*.conf $(TO)/share/doc/lunar/examples
	install -d -m 755 $(DESTDIR)/etc/lunar
	@printf '%s\n' '' 'Next, on each host (lunard(8), lunar.conf(5)):' \
	    '  lunard needs no configuration where the host is alone;' \
	    '  a cluster: lunar cluster key; then /etc/lunar/lunar.conf' \
	    '  lunard --check-config' '  systemctl enable --now lunard'
uninstall: ## what install put there
	rm -f $(TO)/sbin/lunard $(TO)/bin/lunar
	for page in $(MAN); do \
	    rm -f $(TO)/share/man/man$${page##*.}/$${page##*/}; done
	for unit in $(UNIT); do rm -f $(DESTDIR)$(UNITDIR)/$${unit##*/}; done
	rm -rf $(TO)/share/doc/lunar

clean:     ## remove build/
	rm -rf build
help:      ## this list
	@sed -n 's/^\([a-z-]*\):[^#=]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16
