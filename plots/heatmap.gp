# Cells. $Cells: "column row shade", shade from 0 to 1; Cell_*: their texts, style 1 on a dark cell.
# Parted: 1 where cells are large enough for white lines between them.

unset grid
set cbrange [0:1]
set palette defined (0 '#f4f7c4', 0.2 '#c5e5a5', 0.4 '#5fbf9a', 0.6 '#2a8c9a', 0.8 '#2f5a91', 1 '#3b1f5e')
do for [i=1:Cell_n] {
  if (Text) {
    set label 2000+i Cell_text[i] at screen Cell_x[i], Cell_y[i] center
  } else {
    if (Cell_style[i] == 1) {
      set label 2000+i Cell_text[i] at screen Cell_x[i], Cell_y[i] center front tc rgb 'white' font Font_label
    } else {
      set label 2000+i Cell_text[i] at screen Cell_x[i], Cell_y[i] center front tc rgb Ink font Font_label
    }
  }
}
if (Text) {
  plot $Cells using 1:(NaN) with dots
} else {
  set xtics scale 0
  set ytics scale 0
  set border 0
  if (Parted) {
    set style fill solid 1 border rgb 'white'
    plot $Cells using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with boxxyerror lw Line*1 lc palette
  } else {
    set style fill solid 1 border
    plot $Cells using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with boxxyerror lw Line*0.4 lc palette
  }
}
