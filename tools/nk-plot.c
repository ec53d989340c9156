/* nk-plot: a picture of a table, drawn by gnuplot. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "plot/plot.h"

#include "cli/tool.h"

/* The command line as it came; what needs reading is turned into plot's fields afterwards. */
struct asked {
  struct plot plot;
  const char *columns, *label_ids, *size, *log, *x_range, *y_range, *format, *band;
  struct cli_strings lines, ellipses;
  struct cli_frame **outlines; /* [ellipses.n] */
  int64_t *ids;
};

/* ---- Reading the options ---- */

static int read_kind(struct asked *asked, const char *name) {
  static const char *const kinds[] = {"histogram", "scatter", "scree", "curve", "heatmap"};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    if (strcmp(name, kinds[k]) == 0) {
      asked->plot.kind = (enum plot_kind)k;
      return 0;
    }
  return nk_fail(NK_EUSAGE, "'%s' is no kind of picture: histogram, scatter, scree, curve, heatmap",
                 name);
}

static int read_log(struct plot *plot, const char *axes) {
  for (const char *s = axes ? axes : ""; *s; s++) {
    if (*s == 'x') {
      plot->log_x = true;
    } else if (*s == 'y') {
      plot->log_y = true;
    } else if (*s == 'z') {
      plot->log_z = true;
    } else {
      return nk_fail(NK_EUSAGE, "--log %s: it takes the letters x, y and z", axes);
    }
  }
  return 0;
}

/* "1200x800" */
static int read_size(struct plot *plot, const char *size) {
  char end;
  if (size && sscanf(size, "%6zux%6zu%c", &plot->width, &plot->height, &end) != 2)
    return nk_fail(NK_EUSAGE, "--size %s: it is given as WIDTHxHEIGHT", size);
  if (size && (plot->width == 0 || plot->height == 0))
    return nk_fail(NK_EUSAGE, "--size %s: neither can be 0", size);
  return 0;
}

/* "LO:HI"; an empty one stays as it is. */
static int read_pair(const char *option, const char *pair, double out[2]) {
  if (!pair) return 0;
  const char *s = pair;
  for (int i = 0; i < 2; i++) {
    char stop = i == 0 ? ':' : 0, *end = (char *)s;
    double value = *s == stop ? out[i] : strtod(s, &end);
    if (*end != stop || isinf(value) || (isnan(value) && *s != stop))
      return nk_fail(NK_EUSAGE, "%s %s: it is given as LOW:HIGH", option, pair);
    out[i] = value;
    s = end + 1;
  }
  return 0;
}

static int read_band(struct plot *plot, const char *band) {
  double percent[2] = {5, 95};
  int code = read_pair("--band", band, percent);
  if (code == NK_OK && !(percent[0] >= 0 && percent[0] <= percent[1] && percent[1] <= 100))
    code = nk_fail(NK_EUSAGE, "--band %s: percents from 0 to 100, the lower first", band);
  plot->band[0] = percent[0] / 100;
  plot->band[1] = percent[1] / 100;
  return code;
}

/* By --format, else by the suffix of -o; a terminal gets text, a pipe PNG. */
static int choose_format(struct plot *plot, const char *format, const char *output) {
  const char *from = format ? format : output && strcmp(output, "-") != 0 ? output : NULL;
  int found = from ? plot_format_of(from) : isatty(STDOUT_FILENO) ? PLOT_TEXT : PLOT_PNG;
  if (found < 0)
    return nk_fail(NK_EUSAGE, "%s: what format is that? --format png, svg, pdf or text", from);
  plot->format = (enum plot_format)found;
  struct winsize window;
  if (found == PLOT_TEXT && !plot->width && !output &&
      ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col >= 40 &&
      window.ws_row >= 12) {
    plot->width = window.ws_col - 1U;
    plot->height = window.ws_row - 2U;
  }
  return 0;
}

static int read_outlines(struct asked *asked) {
  asked->outlines = nk_calloc(asked->ellipses.n, sizeof(struct cli_frame *));
  if (!asked->outlines) return NK_EMEMORY;
  for (size_t i = 0; i < asked->ellipses.n; i++) {
    asked->outlines[i] = cli_frame_read(asked->ellipses.item[i]);
    if (!asked->outlines[i]) return nk_error_code();
  }
  asked->plot.outlines = (const struct cli_frame *const *)asked->outlines;
  asked->plot.n_outlines = asked->ellipses.n;
  return 0;
}

static int read_options(struct asked *asked, const struct cli_run *run) {
  struct plot *plot = &asked->plot;
  int code = read_kind(asked, run->operands[0]);
  if (code == NK_OK) code = read_log(plot, asked->log);
  if (code == NK_OK) code = read_size(plot, asked->size);
  if (code == NK_OK) code = read_pair("--xrange", asked->x_range, plot->x_range);
  if (code == NK_OK) code = read_pair("--yrange", asked->y_range, plot->y_range);
  if (code == NK_OK) code = read_band(plot, asked->band);
  if (code == NK_OK) code = choose_format(plot, asked->format, run->common.output);
  if (code == NK_OK && asked->label_ids)
    code = cli_parse_ids("--label-ids", asked->label_ids, &asked->ids, &plot->n_label_ids);
  plot->label_ids = asked->ids;
  if (asked->columns && plot->kind == PLOT_HISTOGRAM) plot->x = asked->columns;
  if (asked->columns && plot->kind != PLOT_HISTOGRAM) plot->y = asked->columns;
  plot->lines = asked->lines.item;
  plot->n_lines = asked->lines.n;
  return code == NK_OK ? read_outlines(asked) : code;
}

static int draw(const struct asked *asked, const struct cli_run *run) {
  int kind = asked->plot.format == PLOT_TEXT ? NK_OUTPUT_TEXT : NK_OUTPUT_BINARY;
  struct cli_frame *frame = cli_frame_read(cli_operand(run, 1));
  if (!frame) return nk_error_code();
  struct nk_output *output = cli_output(run, kind);
  int code = output ? plot_draw(&asked->plot, frame, output) : nk_error_code();
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  cli_frame_free(frame);
  return code;
}

int main(int argc, char **argv) {
  struct asked asked = {0};
  struct plot *plot = &asked.plot;
  plot_defaults(plot);
  const struct cli_option options[] = {
      {'x', NULL, CLI_OPTION_STRING, &plot->x, "COL", "column along x (histogram: may be A,B,..)"},
      {'y', NULL, CLI_OPTION_STRING, &plot->y, "COL", "column along y; A,B,.. draws several"},
      {'z', NULL, CLI_OPTION_STRING, &plot->z, "COL", "column as colour (heatmap, scatter)"},
      {0, "columns", CLI_OPTION_STRING, &asked.columns, "A,B,..", "the same as -y (histogram: -x)"},
      {0, "by", CLI_OPTION_STRING, &plot->by, "COL", "a group for each value of this column"},
      {0, "mark", CLI_OPTION_STRING, &plot->mark, "COND", "rows to stand out: COL, or 'COL<=5'"},
      {0, "label", CLI_OPTION_SIZE, &plot->n_labels, "K", "label the K most extreme rows"},
      {0, "label-by", CLI_OPTION_STRING, &plot->label_by, "COL", "or the K largest in a column"},
      {0, "label-ids", CLI_OPTION_STRING, &asked.label_ids, "IDS", "or these: 3,10-20"},
      {0, "label-column", CLI_OPTION_STRING, &plot->label_column, "COL", "labels (default: text)"},
      {0, "line", CLI_OPTION_LIST, &asked.lines, "CUT", "a cut: x=VALUE or y=VALUE[:TEXT]"},
      {0, "ellipse", CLI_OPTION_LIST, &asked.ellipses, "FILE", "a line through a table's x and y"},
      {0, "log", CLI_OPTION_STRING, &asked.log, "AXES", "logarithmic: x, y, z, xy, .."},
      {0, "xrange", CLI_OPTION_STRING, &asked.x_range, "LO:HI", "show only this part of x"},
      {0, "yrange", CLI_OPTION_STRING, &asked.y_range, "LO:HI", "show only this part of y"},
      {0, "bins", CLI_OPTION_SIZE, &plot->bins, "N", "bins of x"},
      {0, "counts", CLI_OPTION_FLAG, &plot->counts, NULL,
       "histogram of groups: counts, not shares"},
      {0, "band", CLI_OPTION_STRING, &asked.band, "LO:HI", "curve: percents (default 5:95)"},
      {0, "title", CLI_OPTION_STRING, &plot->title, "TEXT", "a title"},
      {0, "xlabel", CLI_OPTION_STRING, &plot->x_label, "TEXT", "name of the x axis"},
      {0, "ylabel", CLI_OPTION_STRING, &plot->y_label, "TEXT", "name of the y axis"},
      {0, "size", CLI_OPTION_STRING, &asked.size, "WxH", "pixels, or characters (1200x800)"},
      {0, "dpi", CLI_OPTION_SIZE, &plot->dpi, "N", "PNG: 192 is twice as fine (default 96)"},
      {0, "format", CLI_OPTION_STRING, &asked.format, "F", "png, svg, pdf, text (by -o's suffix)"},
  };
  const struct cli_tool tool = {
      .name = "nk-plot",
      .summary = "a picture of a table: histogram, scatter, scree, curve, heatmap",
      .usage = "KIND [OPTION]... [TABLE]",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .example = "nk-plot scatter -x norm -y mahalanobis --label 9 -o p.png < stats.tsv",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 2);
  int code = read_options(&asked, &run);
  if (code == NK_OK) code = draw(&asked, &run);
  for (size_t i = 0; asked.outlines && i < asked.ellipses.n; i++) cli_frame_free(asked.outlines[i]);
  nk_free(asked.outlines);
  nk_free(asked.ids);
  cli_strings_free(&asked.lines);
  cli_strings_free(&asked.ellipses);
  return cli_end(&run, code);
}
