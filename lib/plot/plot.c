/* The way into lib/plot: defaults, formats, and one function for each kind of picture. */
#include <noken/plot.h>

#include <math.h>
#include <string.h>
#include <strings.h>

#include "plot/internal.h"

void nk_plot_defaults(struct nk_plot *plot) {
  *plot = (struct nk_plot){
      .dpi = 96,
      .x_range = {NAN, NAN},
      .y_range = {NAN, NAN},
      .band = {0.05, 0.95},
  };
}

int nk_plot_format_of(const char *name) {
  static const struct {
    const char *suffix;
    enum nk_plot_format format;
  } suffixes[] = {
      {"png", NK_PLOT_PNG},  {"svg", NK_PLOT_SVG},   {"pdf", NK_PLOT_PDF},
      {"txt", NK_PLOT_TEXT}, {"text", NK_PLOT_TEXT},
  };
  const char *dot = strrchr(name, '.');
  const char *suffix = dot ? dot + 1 : name;
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
    if (strcasecmp(suffix, suffixes[i].suffix) == 0) return (int)suffixes[i].format;
  return -1;
}

/* What a kind of picture cannot show is refused, not ignored. */
static int check_kind(const struct nk_plot *plot) {
  enum nk_plot_kind kind = plot->kind;
  bool rows = kind == NK_PLOT_HISTOGRAM || kind == NK_PLOT_SCATTER;
  const char *wrong = NULL;
  if (!rows && plot->mark) wrong = "marked rows";
  if (!rows && (plot->n_labels || plot->n_label_ids)) wrong = "labelled rows";
  if (kind != NK_PLOT_SCATTER && kind != NK_PLOT_CURVE && plot->n_outlines) wrong = "outlines";
  if (kind != NK_PLOT_SCATTER && kind != NK_PLOT_HEATMAP && plot->z) wrong = "a column z";
  if (kind == NK_PLOT_HISTOGRAM && plot->y) wrong = "a column y";
  if ((kind == NK_PLOT_SCREE || kind == NK_PLOT_HEATMAP) && plot->by) wrong = "groups";
  if (kind == NK_PLOT_SCATTER && plot->by && plot->z) wrong = "both groups and a column z";
  if (kind == NK_PLOT_HEATMAP && plot->n_lines) wrong = "cuts";
  if (plot->x_range[0] >= plot->x_range[1] || plot->y_range[0] >= plot->y_range[1])
    return nk_fail(NK_EUSAGE, "a range ends before it begins");
  if (plot->label_by && !plot->n_labels)
    return nk_fail(NK_EUSAGE, "labels by '%s': of how many rows?", plot->label_by);
  return wrong ? nk_fail(NK_EUSAGE, "this kind of picture does not take %s", wrong) : 0;
}

int nk_plot_draw(const struct nk_plot *plot, const struct nk_frame *frame,
                 struct nk_output *output) {
  static nki_picture *const pictures[] = {
      [NK_PLOT_HISTOGRAM] = nki_draw_histogram, [NK_PLOT_SCATTER] = nki_draw_scatter,
      [NK_PLOT_SCREE] = nki_draw_scree,         [NK_PLOT_CURVE] = nki_draw_curve,
      [NK_PLOT_HEATMAP] = nki_draw_heatmap,
  };
  int code = check_kind(plot);
  return code == 0 ? pictures[plot->kind](plot, frame, output) : code;
}
