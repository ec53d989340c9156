/* The points of a curve's lines: what is known of y at each x. */
#ifndef PLOT_KNOTS_H
#define PLOT_KNOTS_H

#include "plot/internal.h"

/* A point of a line: a median or another statistic, with its band. */
struct plot_knot {
  double x, value, lo, hi;
  size_t group;
};

struct plot_knots {
  struct plot_knot *knot; /* [n] by group, then x */
  size_t n;
  bool band; /* some have one */
};

/* A point of a strand. */
struct plot_bead {
  double x, y;
  size_t group;
  uint32_t strand;
};

/* The strands of a curve that is summarized over them: the rows of one value of a column. */
struct plot_strands {
  uint32_t *of;           /* [rows->n] the strand of each row; NULL: every row counts for itself */
  struct plot_bead *bead; /* [n] by group, strand, then x */
  size_t n;
};

/* Takes the rows' groups for the strands and groups them by `colour` instead (NULL: into one). */
int plot_strands_take(struct plot_strands *strands, struct plot_rows *rows,
                      const struct cli_frame *frame, const char *colour);
/* Sets the beads: where a strand has several rows at one x, their median or mean. */
int plot_strands_draw(struct plot_strands *strands, const struct plot_rows *rows,
                      const struct plot *plot);
void plot_strands_free(struct plot_strands *strands);

/* The knots of rows: the median (or mean) at each x, with the band that the plot asks for. Where x
 * has many values they are binned. A strand counts once at each. Free with nk_free(knots->knot). */
int plot_knots_make(struct plot_knots *knots, const struct plot_rows *rows,
                    const struct plot_strands *strands, const struct plot *plot);
/* The knots of a summary are its rows. Bars of one category are beside one another. */
int plot_knots_take(struct plot_knots *knots, const struct plot_rows *rows,
                    const struct plot_estimates *estimates, const struct plot *plot,
                    const struct cli_frame *frame);

#endif
