# bench/rows.awk - lines "CONTENDER ROUND ROW VALUE" to rows of a table.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# -v unit=IOPS  -v names="lunar raw …"  -v goals="ROW CONTENDER RATIO\n…"

{
    if (!($3 in seen)) {
        seen[$3] = 1
        order[++rows] = $3
    }
    value[$3, $1, $2] = $4
    if ($2 >= rounds)
        rounds = $2 + 1
}

# Sort list[1 … n]: n is small.
function sort(list, n,   i, j, x) {
    for (i = 2; i <= n; i++) {
        x = list[i]
        for (j = i - 1; j >= 1 && list[j] > x; j--)
            list[j + 1] = list[j]
        list[j + 1] = x
    }
}

function median(list, n) {
    return (list[int((n + 1) / 2)] + list[int(n / 2) + 1]) / 2
}

# The median of a contender's samples of a row.
function middle(row, name,   list, n, r) {
    n = 0
    for (r = 0; r < rounds; r++)
        if ((row, name, r) in value)
            list[++n] = value[row, name, r] + 0
    sort(list, n)
    return n ? median(list, n) : 0
}

# "2.10 (1.90 … 2.31)": ours by theirs, round by round.
function ratio(row, theirs,   list, n, r) {
    n = 0
    for (r = 0; r < rounds; r++)
        if (value[row, name[1], r] && value[row, theirs, r])
            list[++n] = value[row, name[1], r] / value[row, theirs, r]
    if (!n)
        return ""
    sort(list, n)
    last_ratio = median(list, n)
    return sprintf("%.2f (%.2f … %.2f)", last_ratio, list[1], list[n])
}

function number(x) {
    return x < 100 ? sprintf("%.2f", x) : sprintf("%.0f", x)
}

END {
    count = split(names, name, " ")
    lines = split(goals, line, "\n")
    for (i = 1; i <= lines; i++)
        if (split(line[i], word, " ") == 3)
            goal[word[1], word[2]] = word[3]
    for (i = 1; i <= rows; i++) {
        row = order[i]
        text = sprintf("%-21s %-6s %10s", row, unit, number(middle(row, name[1])))
        for (k = 2; k <= count; k++) {
            times = ratio(row, name[k])
            # Bytes, not letters, are what %*s counts: the dots are three.
            text = text sprintf(" %10s %s%*s", number(middle(row, name[k])),
                                times, 24 - length(times), "")
            if ((row, name[k]) in goal)
                want = want sprintf("  %s ≥ %s%s", name[k],
                                    goal[row, name[k]],
                                    last_ratio < goal[row, name[k]] ? \
                                    " MISSED" : "")
        }
        sub(/ *$/, "", text)
        print text (want == "" ? "" : "  [" substr(want, 3) "]")
        want = ""
    }
}
