/* nk-plot: a picture of a table, drawn by gnuplot. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/tool.h"
#include "plot/plot.h"

/* The options: those that need no parsing are the fields of plot; the others are texts that are
 * parsed into them. */
struct options {
  struct plot plot;
  int summary; /* -1: none */
  const char *columns, *label_ids, *size, *log, *x_range, *y_range, *format, *band, *ordinary_from;
  struct cli_strings lines, ellipses;
  struct cli_frame **outlines; /* [ellipses.n] */
  struct cli_frame *ordinary;
  int64_t *ids;
};

/* ---- Parsing ---- */

static int parse_kind(const char *name, enum plot_kind *kind) {
  static const char *const kinds[] = {"histogram", "scatter", "scree", "curve", "paths", "heatmap"};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    if (strcmp(name, kinds[k]) == 0) {
      *kind = (enum plot_kind)k;
      return NK_OK;
    }
  return nk_fail(NK_EUSAGE,
                 "unknown kind '%s': not one of histogram, scatter, scree, curve, paths, heatmap",
                 name);
}

/* "xy" */
static int parse_log(const char *axes, struct plot *plot) {
  for (const char *s = axes != NULL ? axes : ""; *s != 0; s++) {
    bool *log = *s == 'x'   ? &plot->log_x
                : *s == 'y' ? &plot->log_y
                : *s == 'z' ? &plot->log_z
                            : NULL;
    if (log == NULL)
      return nk_fail(NK_EUSAGE, "option --log: '%s' has letters other than x, y and z", axes);
    *log = true;
  }
  return NK_OK;
}

/* "1200x800" */
static int parse_size(const char *size, struct plot *plot) {
  if (size == NULL) return NK_OK;
  const char *height = size + strspn(size, "0123456789");
  char *end = NULL;
  if (height > size && height[0] == 'x' && height[1] >= '0' && height[1] <= '9') {
    plot->width = strtoul(size, NULL, 10);
    plot->height = strtoul(height + 1, &end, 10);
  }
  if (end == NULL || *end != 0)
    return nk_fail(NK_EUSAGE, "option --size: '%s' is not of the form WIDTHxHEIGHT", size);
  if (plot->width == 0 || plot->height == 0)
    return nk_fail(NK_EUSAGE, "option --size: '%s': a size is 0", size);
  return NK_OK;
}

/* "LOW:HIGH"; either can be empty. */
static int parse_range(const char *option, const char *text, struct plot_range *range) {
  if (text == NULL) return NK_OK;
  const char *colon = strchr(text, ':');
  char *end = NULL;
  *range = (struct plot_range){0};
  if (colon == NULL) goto bad;
  if ((range->has_lo = colon > text)) {
    range->lo = strtod(text, &end);
    if (end != colon || !isfinite(range->lo)) goto bad;
  }
  if ((range->has_hi = colon[1] != 0)) {
    range->hi = strtod(colon + 1, &end);
    if (end == colon + 1 || *end != 0 || !isfinite(range->hi)) goto bad;
  }
  return NK_OK;
bad:
  return nk_fail(NK_EUSAGE, "option %s: '%s' is not of the form LOW:HIGH", option, text);
}

/* Percentages "5:95"; equal ones: no band. */
static int parse_band(const char *text, struct plot *plot) {
  struct plot_range percent;
  if (text == NULL) return NK_OK;
  int code = parse_range("--band", text, &percent);
  if (code != NK_OK) return code;
  double lo = percent.has_lo ? percent.lo : 5, hi = percent.has_hi ? percent.hi : 95;
  if (lo < 0 || hi > 100 || lo > hi)
    return nk_fail(NK_EUSAGE, "option --band: '%s' are not two ascending percentages", text);
  plot->no_band = lo == hi;
  plot->band[0] = lo / 100;
  plot->band[1] = hi / 100;
  return NK_OK;
}

/* By --format, or else by the suffix of -o; without either, text for a terminal and PNG for a pipe.
 */
static int choose_format(const struct options *o, const char *output, struct plot *plot) {
  bool to_file = output != NULL && strcmp(output, "-") != 0;
  const char *name = o->format != NULL ? o->format : to_file ? output : NULL;
  int format = isatty(STDOUT_FILENO) == 1 ? PLOT_TEXT : PLOT_PNG;
  if (name != NULL) format = plot_format_of(name);
  struct winsize window;
  if (format < 0)
    return nk_fail(NK_EUSAGE, "unknown format '%s': use --format png, svg, pdf or text", name);
  plot->format = (enum plot_format)format;
  if (plot->format == PLOT_TEXT && plot->width == 0 && output == NULL &&
      ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col >= 40 &&
      window.ws_row >= 12) {
    plot->width = window.ws_col - 1U;
    plot->height = window.ws_row - 2U;
  }
  return NK_OK;
}

static int read_tables(struct options *o) {
  o->outlines = nk_calloc(o->ellipses.n, sizeof(struct cli_frame *));
  if (o->outlines == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < o->ellipses.n; i++) {
    o->outlines[i] = cli_frame_read(o->ellipses.item[i]);
    if (o->outlines[i] == NULL) return nk_error_code();
  }
  if (o->ordinary_from != NULL) {
    o->ordinary = cli_frame_read(o->ordinary_from);
    if (o->ordinary == NULL) return nk_error_code();
  }
  o->plot.ordinary_frame = o->ordinary;
  o->plot.outlines = (const struct cli_frame *const *)o->outlines;
  o->plot.n_outlines = o->ellipses.n;
  return NK_OK;
}

static int parse_options(struct options *o, const struct cli_run *run) {
  struct plot *plot = &o->plot;
  int code = parse_kind(run->operands[0], &plot->kind);
  if (code == NK_OK) code = parse_log(o->log, plot);
  if (code == NK_OK) code = parse_size(o->size, plot);
  if (code == NK_OK) code = parse_range("--xrange", o->x_range, &plot->x_range);
  if (code == NK_OK) code = parse_range("--yrange", o->y_range, &plot->y_range);
  if (code == NK_OK) code = parse_band(o->band, plot);
  if (code == NK_OK) code = choose_format(o, run->common.output, plot);
  if (code == NK_OK && o->label_ids != NULL)
    code = cli_parse_ids("--label-ids", o->label_ids, &o->ids, &plot->n_label_ids);
  plot->label_ids = o->ids;
  if (o->columns != NULL && plot->kind == PLOT_HISTOGRAM) plot->x = o->columns;
  if (o->columns != NULL && plot->kind != PLOT_HISTOGRAM) plot->y = o->columns;
  if (o->summary >= 0) plot->summary = o->summary == 0 ? PLOT_MEDIAN : PLOT_MEAN;
  plot->seed = run->common.seed;
  plot->lines = o->lines.item;
  plot->n_lines = o->lines.n;
  return code == NK_OK ? read_tables(o) : code;
}

static void options_free(struct options *o) {
  for (size_t i = 0; o->outlines != NULL && i < o->ellipses.n; i++) cli_frame_free(o->outlines[i]);
  nk_free(o->outlines);
  cli_frame_free(o->ordinary);
  nk_free(o->ids);
  cli_strings_free(&o->lines);
  cli_strings_free(&o->ellipses);
}

/* ---- The picture ---- */

static int draw(const struct options *o, const struct cli_run *run) {
  int kind = o->plot.format == PLOT_TEXT ? NK_OUTPUT_TEXT : NK_OUTPUT_BINARY;
  struct cli_frame *frame = cli_frame_read(cli_operand(run, 1));
  struct nk_output *output = frame != NULL ? cli_output(run, kind) : NULL;
  int code = output != NULL ? plot_draw(&o->plot, frame, output) : nk_error_code();
  code = cli_close(NULL, output, code);
  cli_frame_free(frame);
  return code;
}

int main(int argc, char **argv) {
  struct options o = {.summary = -1};
  struct plot *plot = &o.plot;
  const struct cli_option options[] = {
      {'x', NULL, CLI_OPTION_STRING, &plot->x, "COL", "column for x (histogram: a list A,B)"},
      {'y', NULL, CLI_OPTION_STRING, &plot->y, "COL", "column for y, or a list A,B"},
      {'z', NULL, CLI_OPTION_STRING, &plot->z, "COL", "column for colour (heatmap, scatter)"},
      {0, "columns", CLI_OPTION_STRING, &o.columns, "A,B", "the same as -y (histogram: -x)"},
      {0, "by", CLI_OPTION_STRING, &plot->by, "COL", "one group per value of this column"},
      {0, "mark", CLI_OPTION_STRING, &plot->mark, "COND", "highlight rows: COL, or 'COL<=5'"},
      {0, "label", CLI_OPTION_SIZE, &plot->n_labels, "K", "label the K most extreme rows"},
      {0, "label-by", CLI_OPTION_STRING, &plot->label_by, "COL", "label the K largest in COL"},
      {0, "label-ids", CLI_OPTION_STRING, &o.label_ids, "IDS", "label these ids: 3,10-20"},
      {0, "label-column", CLI_OPTION_STRING, &plot->label_column, "COL",
       "labels' column (default: text)"},
      {0, "line", CLI_OPTION_LIST, &o.lines, "CUT", "draw a line x=VALUE or y=VALUE[:TEXT]"},
      {0, "ellipse", CLI_OPTION_LIST, &o.ellipses, "FILE", "draw a line through a table's points"},
      {0, "log", CLI_OPTION_STRING, &o.log, "AXES", "logarithmic axes: x, y, z, xy, ..."},
      {0, "xrange", CLI_OPTION_STRING, &o.x_range, "LO:HI", "range of x"},
      {0, "yrange", CLI_OPTION_STRING, &o.y_range, "LO:HI", "range of y"},
      {0, "bins", CLI_OPTION_SIZE, &plot->bins, "N", "number of bins of x"},
      {0, "counts", CLI_OPTION_FLAG, &plot->counts, NULL,
       "histogram of groups: counts instead of percentages"},
      {0, "band", CLI_OPTION_STRING, &o.band, "LO:HI", "curve: percentiles (default 5:95)"},
      {0, "interval", CLI_OPTION_FLAG, &plot->interval, NULL,
       "curve: 95% interval of the median as the band"},
      {0, "summary", CLI_OPTION_CHOICE, &o.summary, "median|mean",
       "curve: over the lines of --by, which are pale"},
      {0, "colour", CLI_OPTION_STRING, &plot->colour, "COL", "its groups: a colour per value"},
      {0, "no-lines", CLI_OPTION_FLAG, &plot->no_strands, NULL, "the summary without the lines"},
      {0, "ordinary", CLI_OPTION_STRING, &plot->ordinary, "COND",
       "curve: range of these rows behind the lines"},
      {0, "ordinary-from", CLI_OPTION_STRING, &o.ordinary_from, "FILE",
       "curve: the same, of the rows of a table"},
      {0, "title", CLI_OPTION_STRING, &plot->title, "TEXT", "title"},
      {0, "xlabel", CLI_OPTION_STRING, &plot->x_label, "TEXT", "label of the x axis"},
      {0, "ylabel", CLI_OPTION_STRING, &plot->y_label, "TEXT", "label of the y axis"},
      {0, "size", CLI_OPTION_STRING, &o.size, "WxH", "pixels (1200x800), or characters"},
      {0, "dpi", CLI_OPTION_SIZE, &plot->dpi, "N", "PNG: pixels per inch (default: 96)"},
      {0, "format", CLI_OPTION_STRING, &o.format, "F", "png, svg, pdf, text (default: by -o)"},
  };
  const struct cli_tool tool = {
      .name = "nk-plot",
      .summary = "a table as a histogram, scatter, scree, curve, paths or heatmap",
      .usage = "KIND [OPTION]... [TABLE]",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .example = "nk-plot scatter -x norm -y mahalanobis --label 9 -o p.png < stats.tsv",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 2);
  int code = parse_options(&o, &run);
  if (code == NK_OK) code = draw(&o, &run);
  options_free(&o);
  return cli_end(&run, code);
}
