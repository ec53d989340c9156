# The ratio of two rows of a table of nk-summary for each value of a column, with an interval:
#
#   awk -v by=place -v above='searched,median kl' -v below='random,quantile kl:0.99' \
#     -f ratio.awk TABLE
#
# A row is named by the columns kind and statistic. The interval is that of a difference of
# logarithms from the intervals of both (Zou and Donner, 2008), which its name says; n is that of
# both, "8 and 400".

BEGIN { FS = OFS = "\t"; print by, "value", "low", "high", "level", "interval", "n" }

NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }

{ what = $at["kind"] "," $at["statistic"]; key = $at[by] }

what == above || what == below {
  if (!(key in seen)) order[++n_keys] = key
  seen[key] = 1
  value[what, key] = $at["value"]
  low[what, key] = $at["low"]
  high[what, key] = $at["high"]
  n[what, key] = $at["n"]
  level = $at["level"]
  interval = $at["interval"] ", combined by Zou and Donner"
}

# The length of an interval's side: of both sides of a logarithm, in quadrature.
function side(a, b) { return sqrt(log(a) ^ 2 + log(b) ^ 2) }

END {
  for (i = 1; i <= n_keys; i++) {
    key = order[i]
    a = value[above, key]
    b = value[below, key]
    if (!(a > 0 && b > 0)) continue
    bottom = top = ""
    if (low[above, key] > 0 && high[below, key] > 0)
      bottom = a / b / exp(side(a / low[above, key], high[below, key] / b))
    if (high[above, key] > 0 && low[below, key] > 0)
      top = a / b * exp(side(high[above, key] / a, b / low[below, key]))
    print key, a / b, bottom, top, level, interval, n[above, key] " and " n[below, key]
  }
}
