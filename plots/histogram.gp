# Bars. $Bars: "from to height", one block per series; $Steps: "x y" of each series' outline;
# $Columns: "x height" at each character of a text terminal. Series: the style of each series (the
# number of a group; 0: marked rows). $Labelled: "x y" of labelled rows.

shade(s, opacity) = s == 0 ? 0xd1410c + (int(255 * (1 - opacity)) << 24) : faded(s, opacity)

if (Text) {
  if (Series_n == 1) {
    plot $Columns using 1:2 with impulses lt 1, \
         $Labelled using 1:2 with points pt '^'
  } else {
    Lines = Series[Series_n] == 0 ? Series_n - 1 : Series_n
    plot for [i=1:Lines] $Steps index (i-1) using 1:2 with lines lt Series[i], \
         for [i=Lines+1:Series_n] $Bars index (i-1) using (($1 + $2)/2):($3 > Y_lo ? $3 : NaN) \
           with points pt sign(0), \
         $Labelled using 1:2 with points pt '^'
  }
} else {
  unset grid
  set grid ytics back lt 1 lw Line*0.8 lc rgb Faint
  if (Series_n == 1) {
    set style fill solid 1 border rgb 'white'
    plot $Bars using (($1 + $2)/2):(($3 + Y_lo)/2):1:2:(Y_lo):3 with boxxyerror lw Line*0.7 lc rgb shade(Series[1], 0.85), \
         $Labelled using 1:2 with points pt 7 ps Point*2.6 lc rgb Ink
  } else {
    set style fill solid 1 noborder
    plot for [i=1:Series_n] $Steps index (i-1) using 1:2 with filledcurves y=Y_lo lc rgb shade(Series[i], 0.28), \
         for [i=1:Series_n] $Steps index (i-1) using 1:2 with lines lw Line*1.6 lc rgb shade(Series[i], 1), \
         $Labelled using 1:2 with points pt 7 ps Point*2.6 lc rgb Ink
  }
}
