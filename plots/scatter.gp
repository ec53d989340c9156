# A point per row. $Points: "x y shade group", one block per group; $Marked: the same, one block;
# $Labelled and $Outline: "x y". Group: the groups in drawing order. Shaded: 1 where the colour is by
# shade (density, or a column), 0 where it is by group. Radius in 1/96 inch.

set cbrange [0:1]
if (Scale) {
  set palette defined (0 '#fde725', 0.25 '#5ec962', 0.5 '#21918c', 0.75 '#3b528b', 1 '#440154')
} else {
  set palette defined (0 '#8fb8d9', 0.5 '#3f7fb5', 1 '#0c2f5e')
}

if (Text) {
  plot for [i=1:Group_n] $Points index (Group[i]-1) using 1:2 with points \
         pt (Group_n == 1 ? '.' : sign(Group[i])), \
       $Marked using 1:2 with points pt sign(0)
} else {
  # Only one of the first two draws: the loop of the other is empty.
  plot for [i=1:(Shaded ? Group_n : 0)] $Points index (Group[i]-1) using 1:2:3 \
         with points pt 7 ps Point*Radius lc palette, \
       for [i=1:(Shaded ? 0 : Group_n)] $Points index (Group[i]-1) using 1:2 \
         with points pt 7 ps Point*Radius lc rgb faded(Group[i], Opacity), \
       $Marked using 1:2 with points pt 7 ps Point*(Radius*1.25 + 0.9) lc rgb 'white', \
       $Marked using 1:2 with points pt 7 ps Point*(Radius*1.25 + 0.2) lc rgb Mark, \
       $Outline using 1:2 with lines lw Line*1.8 lc rgb Ink, \
       $Labelled using 1:2 with points pt 6 ps Point*(Radius + 2.2) lw Line*1.1 lc rgb Ink
}
