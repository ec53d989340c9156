# Lines with bands. $Knots: "x y lo hi", one block per group. Shade: where Ramp is 1, a group's position
# on the colour scale. Bars: x are categories, intervals are bars. Ordinary: a range behind the lines.
# End_*: the names of the lines, at their right ends.

# Whether both ends of an interval are known. Without one, filledcurves fills to the axis.
known(lo, hi) = lo == lo && hi == hi
set style fill solid 1 noborder
set cbrange [0:1]
set palette defined (0 '#7fcdbb', 0.5 '#2c7fb8', 1 '#15195a')

do for [i=1:End_n] {
  set label 500+i End_text[i] at screen End_x[i], End_y[i] left \
    tc rgb (End_style[i] < 0 ? Neutral : colour(End_style[i])) font Font_label
}
if (Ordinary && !Text) {
  if (Ordinary_lo < Ordinary_hi) {
    set object 1 rectangle from graph 0, first Ordinary_lo to graph 1, first Ordinary_hi \
      behind fc rgb '#f2f2f2' fs solid 1 noborder
  }
  set arrow 500 from graph 0, first Ordinary_at to graph 1, first Ordinary_at \
    nohead back lw Line*1.6 lc rgb Neutral dt (2,3)
}
if (Bars) { unset grid; set grid ytics back lt 1 lw Line*0.8 lc rgb Faint }
if (Text) {
  if (Bars) {
    plot for [i=1:Shade_n] $Knots index (i-1) using 1:2 with points lt i pt sign(i)
  } else {
    plot for [i=1:Shade_n] $Knots index (i-1) using 1:2 with linespoints lt i pt sign(i)
  }
} else {
  if (Ramp) {
    plot for [i=1:Shade_n] $Knots index (i-1) using 1:2:(Shade[i]) with lines lw Line*2 lc palette, \
         $Outline using 1:2 with lines lw Line*1.8 lc rgb Ink
  } else { if (Bars) {
    plot for [i=1:Shade_n] $Knots index (i-1) using 1:2:3:4 with yerrorbars \
           pt 7 ps Point*4.5 lw Line*2 lc rgb colour(i)
  } else {
    plot for [i=1:(Band ? Shade_n : 0)] $Knots index (i-1) using (known($3, $4) ? $1 : NaN):3:4 \
           with filledcurves lc rgb faded(i, Shade_n > 4 ? 0.09 : 0.15), \
         for [i=1:Shade_n] $Knots index (i-1) using 1:2 with lines lw Line*2.6 lc rgb colour(i), \
         for [i=1:Shade_n] $Knots index (i-1) using 1:2 with points pt 7 ps Point*3 lc rgb colour(i), \
         $Outline using 1:2 with lines lw Line*1.8 lc rgb Ink
  } }
}
