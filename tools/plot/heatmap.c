/* Heatmap: the median of z in each cell of x by y. The values of x and y are categories at equal
 * distances, as layers and chosen distances are; numbers that are too many are binned. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"

enum { MAX_CATEGORIES = 80, DEFAULT_BINS = 40 };

/* One side of the map: its categories, from the left or from the bottom. */
struct side {
  size_t n;
  uint32_t *of; /* [rows] the category of each row */
  char **name;  /* [n] */
};

struct heatmap {
  struct side x, y;
  double *value; /* [y.n, x.n]; NaN: no rows there */
  double lo, hi;
};

static void side_free(struct side *side) {
  for (size_t c = 0; side->name != NULL && c < side->n; c++) nk_free(side->name[c]);
  nk_free(side->name);
  nk_free(side->of);
}

static void short_number(double value, char *out, size_t size) {
  if (fabs(value) >= 1e4 && fabs(value) < 1e7) {
    plot_number_text(value, 1, out, size);
  } else {
    snprintf(out, size, "%.3g", value);
  }
}

/* A cell's value with three significant digits: "5.60", "104". */
static void cell_number(double value, char *out, size_t size) {
  short_number(value, out, size);
  if (strchr(out, 'e') != NULL || strchr(out, ',') != NULL || value == 0) return;
  snprintf(out, size, "%#.3g", value);
  size_t length = strlen(out);
  if (length > 0 && out[length - 1] == '.') out[length - 1] = 0;
}

/* Categories that are bins of values [n] (logarithms, with log_axis), named by the bins' middles.
 */
static int side_by_bins(struct side *side, const double *values, size_t n, size_t bins,
                        bool log_axis) {
  double *edges = NULL;
  int code = plot_bin_edges(values, n, bins, bins, &edges, &side->n);
  if (code != NK_OK) return code;
  side->name = nk_calloc(side->n, sizeof *side->name);
  if (side->name == NULL) code = NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < n; i++)
    side->of[i] = (uint32_t)plot_bin_of(values[i], edges, side->n);
  for (size_t b = 0; code == NK_OK && b < side->n; b++) {
    char text[32];
    double middle = (edges[b] + edges[b + 1]) / 2;
    short_number(log_axis ? pow(10, middle) : middle, text, sizeof text);
    side->name[b] = nk_strdup(text);
    if (side->name[b] == NULL) code = NK_EMEMORY;
  }
  nk_free(edges);
  return code;
}

/* Categories that are the cells of the column: the groups that plot_rows_group made. */
static int side_by_cells(struct side *side, struct plot_canvas *canvas,
                         const struct plot_rows *rows) {
  side->n = rows->n_groups;
  side->name = nk_calloc(side->n, sizeof *side->name);
  if (side->name == NULL) return NK_EMEMORY;
  memcpy(side->of, rows->group, rows->n * sizeof *side->of);
  for (size_t g = 0; g < side->n; g++) {
    char number[32];
    const char *name = rows->group_names[g];
    if (rows->numeric_groups) {
      short_number(plot_rows_group_value(rows, g), number, sizeof number);
      name = number;
    }
    side->name[g] = plot_canvas_text(canvas, name, true, 20);
    if (side->name[g] == NULL) return NK_EMEMORY;
  }
  return NK_OK;
}

static int side_make(struct side *side, struct plot_canvas *canvas, struct plot_rows *rows,
                     const char *column, bool log_axis) {
  int code = plot_rows_group(rows, canvas->frame, column);
  if (code != NK_OK) return code;
  side->of = nk_alloc(rows->n, sizeof *side->of);
  if (side->of == NULL) return NK_EMEMORY;
  if (rows->n_groups <= MAX_CATEGORIES) return side_by_cells(side, canvas, rows);
  if (!rows->numeric_groups)
    return nk_fail(NK_EUSAGE, "column '%s' has %zu different texts: the limit of a heatmap is %d",
                   column, rows->n_groups, MAX_CATEGORIES);
  double *values = nk_alloc(rows->n, sizeof *values);
  if (values == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < rows->n; i++) {
    values[i] = plot_rows_group_value(rows, rows->group[i]);
    if (log_axis) values[i] = log10(values[i]);
    if (!isfinite(values[i]))
      code = nk_fail(NK_EDATA, "column '%s': '%s' is in no bin", column,
                     rows->group_names[rows->group[i]]);
  }
  size_t bins = canvas->plot->bins > 0 ? canvas->plot->bins : DEFAULT_BINS;
  if (bins > MAX_CATEGORIES) bins = MAX_CATEGORIES;
  if (code == NK_OK) code = side_by_bins(side, values, rows->n, bins, log_axis);
  nk_free(values);
  return code;
}

/* ---- Medians ---- */

struct entry {
  size_t cell;
  double value;
};

static int compare_entries(const void *a, const void *b) {
  const struct entry *s = a, *t = b;
  if (s->cell != t->cell) return s->cell < t->cell ? -1 : 1;
  return (s->value > t->value) - (s->value < t->value);
}

static int fill(struct heatmap *map, const struct plot_rows *rows) {
  size_t cells = map->x.n * map->y.n;
  struct entry *entries = nk_alloc(rows->n, sizeof *entries);
  double *work = nk_alloc(rows->n, sizeof *work);
  map->value = nk_alloc(cells, sizeof *map->value);
  int code = entries != NULL && work != NULL && map->value != NULL ? NK_OK : NK_EMEMORY;
  for (size_t c = 0; code == NK_OK && c < cells; c++) map->value[c] = NAN;
  for (size_t i = 0; code == NK_OK && i < rows->n; i++)
    entries[i] = (struct entry){map->y.of[i] * map->x.n + map->x.of[i], rows->x[i]};
  if (code == NK_OK) qsort(entries, rows->n, sizeof *entries, compare_entries);
  map->lo = INFINITY;
  map->hi = -INFINITY;
  for (size_t i = 0, end; code == NK_OK && i < rows->n; i = end) {
    for (end = i; end < rows->n && entries[end].cell == entries[i].cell; end++)
      work[end - i] = entries[end].value;
    double median = plot_quantile(work, end - i, 0.5);
    map->value[entries[i].cell] = median;
    map->lo = fmin(map->lo, median);
    map->hi = fmax(map->hi, median);
  }
  nk_free(entries);
  nk_free(work);
  return code;
}

/* ---- Drawing ---- */

/* Ticks in the middle of categories: of every k-th one, so that their texts have room. */
static void set_ticks(struct plot_axis *axis, const struct side *side, double room_each,
                      size_t most) {
  size_t every = 1;
  while ((side->n + every - 1) / every > most || (room_each * (double)every < 1 && every < side->n))
    every++;
  axis->log = false;
  axis->lo = 0.5;
  axis->hi = (double)side->n + 0.5;
  axis->ticks.n = 0;
  for (size_t c = 0; c < side->n && axis->ticks.n < PLOT_MAX_TICKS; c += every) {
    axis->ticks.at[axis->ticks.n] = (double)c + 1;
    snprintf(axis->ticks.text[axis->ticks.n++], sizeof axis->ticks.text[0], "%.31s", side->name[c]);
  }
}

static double widest_name(const struct plot_canvas *canvas, const struct side *side) {
  double widest = 0;
  for (size_t c = 0; c < side->n; c++)
    widest = fmax(widest, plot_canvas_width(canvas, side->name[c], canvas->tick_em));
  return widest;
}

/* What is drawn in a cell: its value, or `width` shades of a text terminal. Free with nk_free. */
static char *cell_text(double value, double part, bool is_value, double width) {
  static const char *const shades[] = {"\u2591", "\u2592", "\u2593", "\u2588"};
  struct nk_buffer text = {0};
  if (is_value) {
    char number[32];
    cell_number(value, number, sizeof number);
    return nk_strdup(number);
  }
  for (size_t k = 0; k < (size_t)fmin(fmax(width, 1), 12); k++)
    nk_buffer_text(&text, shades[part >= 1 ? 3 : (size_t)(part * 4)]);
  char *copy = text.failed ? NULL : nk_strndup(text.size > 0 ? text.data : "", text.size);
  nk_buffer_free(&text);
  return copy;
}

/* $Cells: "column row shade". Each cell has its value where there is room for it, otherwise shades
 * on a text terminal and nothing elsewhere. */
static int write_cells(struct plot_canvas *canvas, const struct heatmap *map) {
  struct plot_notes notes = {0};
  struct nk_buffer *script = &canvas->script;
  double width = (canvas->inside.x1 - canvas->inside.x0) / (double)map->x.n;
  double height = (canvas->inside.y1 - canvas->inside.y0) / (double)map->y.n;
  bool values = canvas->text ? width >= 6 : width >= 3.2 * canvas->em && height >= 1.5 * canvas->em;
  int code = NK_OK;
  plot_script_number(script, "Parted", width >= 10 && height >= 10);
  plot_script_data(script, "Cells");
  for (size_t c = 0; c < map->x.n * map->y.n && code == NK_OK; c++) {
    size_t x = c % map->x.n, y = c / map->x.n;
    if (isnan(map->value[c])) continue;
    double part = plot_axis_position(&canvas->scale, map->value[c]);
    nk_buffer_printf(script, "%zu %zu %.5g\n", x + 1, y + 1, part);
    if (!values && !canvas->text) continue;
    struct plot_note note = {
        .text = cell_text(map->value[c], part, values, width),
        .x = plot_axis_position(&canvas->x, (double)x + 1),
        .y = plot_axis_position(&canvas->y, (double)y + 1),
        .style = part > 0.55,
    };
    code = plot_notes_add(&notes, &note);
  }
  plot_script_data_end(script);
  plot_canvas_notes(canvas, "Cell", &notes);
  plot_notes_free(&notes);
  return code;
}

static int draw(struct plot_canvas *canvas, struct plot_rows *rows, struct heatmap *map,
                struct nk_output *output) {
  const struct plot *plot = canvas->plot;
  int code = side_make(&map->x, canvas, rows, plot->x, plot->log_x);
  if (code == NK_OK) code = side_make(&map->y, canvas, rows, plot->y, plot->log_y);
  if (code == NK_OK) code = fill(map, rows);
  if (code != NK_OK) return code;
  canvas->scale = (struct plot_axis){.lo = map->lo, .hi = map->hi, .log = plot->log_z, .to = 1};
  if (map->lo == map->hi) plot_axis_pad(&canvas->scale, 0);
  canvas->scale_name = plot->z;
  if (canvas->text) { /* without a colour bar, the range is in the legend */
    char lo[32], hi[32], text[256];
    short_number(map->lo, lo, sizeof lo);
    short_number(map->hi, hi, sizeof hi);
    snprintf(text, sizeof text, "%.120s: median, from %s to %s", plot->z, lo, hi);
    code = plot_canvas_legend(canvas, text, -1);
    canvas->scale_name = NULL;
  }
  double room = canvas->width * 0.8 / (double)map->x.n;
  double name = widest_name(canvas, &map->x) + (canvas->text ? 2 : canvas->em);
  set_ticks(&canvas->x, &map->x, room / name, PLOT_MAX_TICKS);
  set_ticks(&canvas->y, &map->y, canvas->height * 0.75 / (double)map->y.n / (1.3 * canvas->line),
            PLOT_MAX_TICKS);
  if (code == NK_OK) code = plot_canvas_layout(canvas, true, true);
  if (code == NK_OK) code = write_cells(canvas, map);
  return code == NK_OK ? plot_canvas_draw(canvas, output) : code;
}

int plot_draw_heatmap(const struct plot *plot, const struct cli_frame *frame,
                      struct nk_output *output) {
  if (plot->x == NULL || plot->y == NULL || plot->z == NULL)
    return nk_fail(NK_EUSAGE, "missing columns: a heatmap needs -x, -y and -z");
  struct plot values = *plot; /* the numbers are those of z; x and y are categories */
  values.x = plot->z;
  values.log_x = plot->log_z;
  values.by = NULL;
  struct plot_rows rows;
  struct plot_canvas canvas = {0};
  struct heatmap map = {0};
  int code = plot_rows_collect(&rows, &values, frame, PLOT_X);
  if (code == NK_OK) code = plot_canvas_begin(&canvas, plot, frame, plot->x, plot->y);
  if (code == NK_OK) code = draw(&canvas, &rows, &map, output);
  side_free(&map.x);
  side_free(&map.y);
  nk_free(map.value);
  plot_canvas_free(&canvas);
  plot_rows_free(&rows);
  return code;
}
