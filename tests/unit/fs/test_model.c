/* tests/unit/fs/test_model.c - random name space operations against a model in
 * RAM: same errors, same trees, same attributes, and a clean check at the end.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/volume.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* -- the model: what POSIX says, in the plainest form -----------------------
 */

enum { NODES_MAX = 512, NAMES = 7, DIRS_USED = 6 };

struct node {
    bool used;
    fs_ino ino;
    uint32_t mode;
    unsigned nlink; /* counted when asked */
    uint64_t size;
    int entry[NAMES]; /* of a directory: node, or -1 */
    int parent;
};

struct model {
    struct node node[NODES_MAX];
    uint64_t random;
};

static unsigned pick(struct model *m, unsigned n)
{
    m->random = m->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(m->random >> 33) % n;
}

static int node_new(struct model *m, uint32_t mode, int parent)
{
    for (int i = 0; i < NODES_MAX; i++)
        if (!m->node[i].used) {
            m->node[i] =
                (struct node){.used = true, .mode = mode, .parent = parent};
            for (int n = 0; n < NAMES; n++)
                m->node[i].entry[n] = -1;
            return i;
        }
    ASSERT(false); /* the model is full: NODES_MAX is too small */
}

static bool is_dir(const struct model *m, int node)
{
    return S_ISDIR(m->node[node].mode);
}

static bool is_empty(const struct model *m, int dir)
{
    for (int n = 0; n < NAMES; n++)
        if (m->node[dir].entry[n] >= 0)
            return false;
    return true;
}

static unsigned links(const struct model *m, int node)
{
    unsigned count = is_dir(m, node) ? 2 : 0;

    for (int d = 0; d < NODES_MAX; d++)
        for (int n = 0; n < NAMES && m->node[d].used; n++) {
            int e = m->node[d].entry[n];

            if (is_dir(m, node) ? d == node && e >= 0 && is_dir(m, e)
                                : e == node)
                count++;
        }
    return count;
}

/* Drop a node that lost its last name. */
static void settle(struct model *m, int node)
{
    if (is_dir(m, node) || links(m, node) == 0)
        m->node[node].used = false;
}

static bool is_inside(const struct model *m, int dir, int ancestor)
{
    for (; dir != 0; dir = m->node[dir].parent)
        if (dir == ancestor)
            return true;
    return ancestor == 0;
}

static enum err model_rename(struct model *m, int from, int a, int to, int b,
                             unsigned flags)
{
    int x = m->node[from].entry[a], y = m->node[to].entry[b];

    if (x < 0)
        return E_NOENT;
    if (y < 0 && flags == FS_RENAME_EXCHANGE)
        return E_NOENT;
    if (x == y)
        return flags == FS_RENAME_NOREPLACE ? E_EXIST : E_OK;
    if (is_dir(m, x) && from != to && is_inside(m, to, x))
        return E_INVAL;
    if (flags == FS_RENAME_EXCHANGE) {
        if (is_dir(m, y) && from != to && is_inside(m, from, y))
            return E_INVAL;
        m->node[from].entry[a] = y;
        m->node[to].entry[b] = x;
        m->node[x].parent = to;
        m->node[y].parent = from;
        return E_OK;
    }
    if (y >= 0) {
        if (flags == FS_RENAME_NOREPLACE)
            return E_EXIST;
        if (is_dir(m, x) && !is_dir(m, y))
            return E_NOTDIR;
        if (!is_dir(m, x) && is_dir(m, y))
            return E_ISDIR;
        if (is_dir(m, y) && !is_empty(m, y))
            return E_NOTEMPTY;
    }
    m->node[from].entry[a] = -1;
    m->node[to].entry[b] = x;
    m->node[x].parent = to;
    if (y >= 0)
        settle(m, y);
    return E_OK;
}

/* -- one random step on both ------------------------------------------------
 */

static const char *const names[NAMES] = {
    "a", "bb", "c c", "\xc3\xbc", "very-long-name-of-a-file-in-this-test",
    "-", "..."};

static int pick_dir(struct model *m)
{
    int dirs[NODES_MAX], n = 0;

    for (int i = 0; i < NODES_MAX; i++)
        if (m->node[i].used && is_dir(m, i))
            dirs[n++] = i;
    return dirs[pick(m, (unsigned)(n < DIRS_USED ? n : DIRS_USED))];
}

static void step_create(struct volume *v, struct model *m, int dir, int name)
{
    static const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};
    uint32_t mode = types[pick(m, 4)] | (S_IRUSR | S_IXUSR);
    fs_attr attr;
    enum err e = v_create(v, m->node[dir].ino, names[name], mode, &attr);
    int node;

    if (m->node[dir].entry[name] >= 0) {
        CHECK_ERR(e, E_EXIST);
        return;
    }
    CHECK_OK(e);
    node = node_new(m, S_ISLNK(mode) ? S_IFLNK | 0777 : mode, dir);
    m->node[node].ino = attr.ino;
    m->node[node].size = S_ISLNK(mode) ? 6 : 0;
    m->node[dir].entry[name] = node;
}

static void step_drop(struct volume *v, struct model *m, int dir, int name,
                      bool rmdir)
{
    fs_ino ino = m->node[dir].ino;
    enum err e =
        rmdir ? v_rmdir(v, ino, names[name]) : v_unlink(v, ino, names[name]);
    int node = m->node[dir].entry[name];

    if (node < 0) {
        CHECK_ERR(e, E_NOENT);
    } else if (rmdir && !is_dir(m, node)) {
        CHECK_ERR(e, E_NOTDIR);
    } else if (!rmdir && is_dir(m, node)) {
        CHECK_ERR(e, E_ISDIR);
    } else if (rmdir && !is_empty(m, node)) {
        CHECK_ERR(e, E_NOTEMPTY);
    } else {
        CHECK_OK(e);
        m->node[dir].entry[name] = -1;
        settle(m, node);
    }
}

static void step_link(struct volume *v, struct model *m, int dir, int name)
{
    int from = pick_dir(m), which = (int)pick(m, NAMES);
    int node = m->node[from].entry[which];
    enum err e;

    if (node < 0)
        return;
    e = v_link(v, m->node[node].ino, m->node[dir].ino, names[name]);
    if (is_dir(m, node)) {
        CHECK_ERR(e, E_PERM);
    } else if (m->node[dir].entry[name] >= 0) {
        CHECK_ERR(e, E_EXIST);
    } else {
        CHECK_OK(e);
        m->node[dir].entry[name] = node;
    }
}

static void step_rename(struct volume *v, struct model *m, int dir, int name)
{
    static const unsigned flags[] = {0, 0, FS_RENAME_NOREPLACE,
                                     FS_RENAME_EXCHANGE};
    int to = pick_dir(m), new_name = (int)pick(m, NAMES);
    unsigned flag = flags[pick(m, 4)];
    enum err e = v_rename(v, m->node[dir].ino, names[name], m->node[to].ino,
                          names[new_name], flag);

    CHECK_ERR(e, model_rename(m, dir, name, to, new_name, flag));
}

static void step_resize(struct volume *v, struct model *m, int dir, int name)
{
    int node = m->node[dir].entry[name];
    uint64_t size = (uint64_t)pick(m, 1000) * 1000;
    fs_ino ino;

    if (node < 0 || !S_ISREG(m->node[node].mode))
        return;
    ino = m->node[node].ino;
    if (pick(m, 2)) {
        CHECK_OK(v_truncate(v, ino, size));
        m->node[node].size = size;
        return;
    }
    CHECK_OK(v_open(v, ino, true));
    CHECK_OK(v_write(v, ino, size, 5000));
    CHECK_OK(v_close(v, ino));
    if (m->node[node].size < size + 5000)
        m->node[node].size = size + 5000;
}

static void step(struct volume *v, struct model *m)
{
    int dir = pick_dir(m), name = (int)pick(m, NAMES);

    switch (pick(m, 12)) {
    case 0:
    case 1:
    case 2:
    case 3: step_create(v, m, dir, name); break;
    case 4: step_drop(v, m, dir, name, false); break;
    case 5: step_drop(v, m, dir, name, true); break;
    case 6: step_link(v, m, dir, name); break;
    case 7:
    case 8:
    case 9: step_rename(v, m, dir, name); break;
    default: step_resize(v, m, dir, name); break;
    }
}

static void compare(struct volume *v, const struct model *m)
{
    for (int d = 0; d < NODES_MAX; d++)
        for (int n = 0; n < NAMES && m->node[d].used; n++) {
            int node = m->node[d].entry[n];
            fs_attr attr = {0};
            enum err e;

            if (!is_dir(m, d))
                continue;
            e = v_lookup(v, m->node[d].ino, names[n], &attr);
            CHECK_ERR(e, node < 0 ? E_NOENT : E_OK);
            if (e || node < 0)
                continue;
            CHECK_EQ(attr.ino, m->node[node].ino);
            CHECK_EQ(attr.mode, m->node[node].mode);
            CHECK_EQ(attr.size_bytes, m->node[node].size);
            CHECK_EQ(attr.nlink, links(m, node));
        }
}

static void run(uint64_t seed, int steps)
{
    struct model *m = calloc(1, sizeof *m);
    struct volume v;
    int root;

    volume_init(&v, 64 * MIB);
    m->random = seed;
    root = node_new(m, S_IFDIR | 0755, 0);
    m->node[root].ino = ROOT;
    for (int i = 0; i < steps; i++) {
        step(&v, m);
        if (i % 500 == 499) {
            volume_stop(&v);
            volume_check_clean(&v);
            volume_start(&v);
            compare(&v, m);
        }
    }
    compare(&v, m);
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    volume_fini(&v);
    free(m);
}

static void random_histories_agree_with_the_model(void)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        run(seed, 1500);
}

static const struct test tests[] = {
    TEST(random_histories_agree_with_the_model),
};
TEST_SUITE("fs/model", tests);
