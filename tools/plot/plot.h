/* Pictures of tables, drawn by gnuplot through a pipe. What has to be computed (bins, quantiles,
 * densities, ticks, the positions of labels) is computed here; the look is defined by templates,
 * one gnuplot script per kind of picture, which users can edit. They are read from the folder that
 * NOKEN_PLOTS names, or else from share/noken/plots beside the tool's folder.
 *
 * Text of a table is given to gnuplot as string constants in which everything but letters, digits
 * and spaces is escaped, so that no token is executed as a command. The same table and options give
 * the same bytes (PNG and PDF: with the same gnuplot and fonts). */
#ifndef PLOT_PLOT_H
#define PLOT_PLOT_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/frame.h"

enum plot_kind {
  PLOT_HISTOGRAM, /* counts of x, by group */
  PLOT_SCATTER,   /* y against x, with labelled rows */
  PLOT_SCREE,     /* share of variance by component, and its running sum */
  PLOT_CURVE,     /* median and quantile band of y at each x, or a statistic with its interval as
                   * nk-summary gives it; a line per group */
  PLOT_PATHS,     /* a curve of what nk-stats --path prints: a line per layer */
  PLOT_HEATMAP,   /* median of z in each cell of x by y */
};

enum plot_format { PLOT_PNG, PLOT_SVG, PLOT_PDF, PLOT_TEXT };

/* What a line of a curve is made of. */
enum plot_summary { PLOT_ROWS, PLOT_MEDIAN, PLOT_MEAN };

/* The part of an axis that is shown. An end that is not set comes from the data. */
struct plot_range {
  bool has_lo, has_hi;
  double lo, hi;
};

/* A picture. All zero is the default: 0 and NULL are "none" or "choose". What the pointers point to
 * stays the caller's and has to live until plot_draw returns. */
struct plot {
  enum plot_kind kind;
  enum plot_format format;
  size_t width, height;  /* in 1/96 inch (0: 1200 x 800, SVG 660 x 440); text: in characters (0:
                          * 100 x 30) */
  size_t dpi;            /* PNG: pixels per inch (0: 96, which gives width x height pixels) */
  const char *title;     /* NULL: none */
  const char *x_label;   /* NULL: the column's name */
  const char *y_label;   /* NULL: the column's name */
  const char *x, *y, *z; /* columns; the x of a histogram and the y of others can be a list "a,b";
                          * scree: NULL is component and ratio */
  const char *by;        /* a group for each value of this column */
  bool log_x, log_y, log_z;
  struct plot_range x_range, y_range;
  const char *mark;         /* highlighted rows: a column (not 0, not empty), or a comparison
                             * "COLUMN<VALUE" with one of = != < <= > >= */
  size_t n_labels;          /* how many rows are labelled: the most extreme ones, */
  const char *label_by;     /* or those with the largest values of this column, */
  const int64_t *label_ids; /* or [n_label_ids] the rows with these ids */
  size_t n_label_ids;
  const char *label_column; /* the column of the labels' texts (NULL: `text`, `name` or `id`) */
  const char *const *lines; /* [n_lines] "x=VALUE" or "y=VALUE", ":TEXT" optional after it */
  size_t n_lines;
  const struct cli_frame *const *outlines; /* [n_outlines] tables of points that a line connects:
                                            * the columns with the names of x and y, or the first
                                            * two; a row without numbers interrupts the line */
  size_t n_outlines;
  size_t bins;               /* of x (0: histogram by Freedman and Diaconis (1981), others 40) */
  bool counts;               /* histogram of groups: counts instead of percentages of each group */
  double band[2];            /* curve: the quantiles at the band's edges (0, 0: 0.05 and 0.95) */
  bool no_band;              /* curve: no band */
  bool interval;             /* curve: the band is the 95% interval of the median */
  enum plot_summary summary; /* curve: `by` makes a thin line of each value, and a bold one is the
                              * median or mean of those, with its 95% interval; PLOT_ROWS: none */
  const char *colour;        /* with `summary`: a colour and a bold line for each value of this */
  bool no_strands;           /* with `summary`: no thin lines */
  uint64_t seed;             /* of the resamples of the interval */
  const char *ordinary;      /* curve: a condition on rows whose range is drawn behind the lines, */
  const struct cli_frame *ordinary_frame; /* rows of this table (NULL: of the one that is drawn) */
  const bool *skip;                       /* [n_rows] rows that are not drawn; NULL: none */
};

/* The format of a file name's suffix, or of a bare name ("png"); -1 where it is none. */
int plot_format_of(const char *name);

/* Draws the table into output, which is written only after gnuplot has succeeded and is not
 * committed. Rows that lack a number that is drawn (a positive one, on a logarithmic axis) are left
 * out, with a warning that counts them. Returns NK_OK; NK_EUSAGE (options that do not fit
 * together), NK_ENOTFOUND (a column, a template), NK_EDATA (no row to draw, a cell that is not a
 * number), NK_EIO (gnuplot is not installed, or failed: its message). */
int plot_draw(const struct plot *plot, const struct cli_frame *frame, struct nk_output *output);

#endif
