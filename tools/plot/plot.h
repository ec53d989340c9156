/* Pictures of tables, drawn by gnuplot through a pipe. What has to be computed (bins, quantiles,
 * densities, ticks, where labels go) is computed here; how it looks is said by the templates, one
 * gnuplot script per kind of picture, which users may edit. They are looked for in the folder that
 * NOKEN_PLOTS names, else in share/noken/plots beside the tool.
 *
 * Text from a table reaches gnuplot as string constants in which all but letters, digits and spaces
 * is escaped, so no token can be a command. The same table and options give the same bytes (PNG and
 * PDF: with the same gnuplot and fonts). */
#ifndef PLOT_PLOT_H
#define PLOT_PLOT_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cli/table.h"

#ifdef __cplusplus
extern "C" {
#endif

enum plot_kind {
  PLOT_HISTOGRAM, /* counts of x, by group */
  PLOT_SCATTER,   /* y against x, with labelled rows */
  PLOT_SCREE,     /* share of variance by component, and its sum */
  PLOT_CURVE,     /* median and quantile band of y at each x, a line per group */
  PLOT_HEATMAP,   /* median of z in each cell of x by y */
};

enum plot_format { PLOT_PNG, PLOT_SVG, PLOT_PDF, PLOT_TEXT };

/* A picture. Start from plot_defaults; every NULL or 0 means "not asked for" or "choose".
 * Nothing here is copied or freed. */
struct plot {
  enum plot_kind kind;
  enum plot_format format;
  size_t width, height; /* in 1/96 inch; text: in characters. 0: 1200 x 800, or 100 x 30 */
  size_t dpi;           /* PNG: pixels per inch, 96 gives width x height pixels */
  const char *title, *x_label, *y_label; /* NULL: no title, the columns' names */
  const char *x, *y, *z; /* columns; histogram's x and the others' y may list several, "a,b";
                          * scree: NULL is component and ratio */
  const char *by;        /* column whose values make the groups */
  bool log_x, log_y, log_z;
  double x_range[2], y_range[2]; /* NaN: from the data */
  const char *mark;         /* rows to stand out: a column (not zero, not empty) or "COLUMN<VALUE",
                             * with one of = != < <= > >= */
  size_t n_labels;          /* rows that get their text as label: the most extreme ones */
  const int64_t *label_ids; /* [n_label_ids] instead of those, the rows with these ids */
  size_t n_label_ids;
  const char *label_by;     /* instead of those, the ones with this column's largest values */
  const char *label_column; /* whose cells are the labels; NULL: `text`, else `id` */
  const char *const *lines; /* [n_lines] "x=VALUE", "y=VALUE", perhaps ":TEXT" after it */
  size_t n_lines;
  const struct cli_frame *const
      *outlines; /* [n_outlines] tables whose x and y (or first two) columns
                  * are the corners of a line, an empty row lifts the pen */
  size_t n_outlines;
  size_t bins;    /* histogram: 0 chooses by Freedman and Diaconis (1981); others: 0 is 40 */
  bool counts;    /* histogram of groups: counts, not shares of each group */
  double band[2]; /* curve: quantiles between which the band runs; 0.05, 0.95. Equal: no band */
};

/* Sets every field to its default. */
void plot_defaults(struct plot *plot);

/* The format of a file name's suffix or of a bare name ("png"), -1 when it is none. */
int plot_format_of(const char *name);

/* Draws the table. Rows that lack a number for it (or one over zero, on a log axis) are left out
 * with a warning that counts them. Output is written only when gnuplot has succeeded; it is not
 * committed. Returns 0, or NK_EUSAGE (an option that makes no sense here), NK_ENOTFOUND (a column,
 * a template), NK_EDATA (nothing to draw, a cell that is no number), NK_EIO (gnuplot is not
 * installed or failed: its own message). */
int plot_draw(const struct plot *plot, const struct cli_frame *frame, struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
