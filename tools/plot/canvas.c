/* The beginning and end of every picture: terminal, fonts and sizes, the cuts, notes, the legend;
 * the call of the template. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"

/* ---- Notes ---- */

int plot_notes_add(struct plot_notes *notes, const struct plot_note *note) {
  void *grown = nk_realloc(notes->note, notes->n, notes->n + 1, sizeof *notes->note);
  if (grown == NULL || note->text == NULL) {
    if (grown != NULL) notes->note = grown;
    nk_free(note->text);
    return NK_EMEMORY;
  }
  notes->note = grown;
  notes->note[notes->n++] = *note;
  return NK_OK;
}

void plot_notes_free(struct plot_notes *notes) {
  for (size_t i = 0; i < notes->n; i++) nk_free(notes->note[i].text);
  nk_free(notes->note);
  *notes = (struct plot_notes){0};
}

void plot_canvas_notes(struct plot_canvas *canvas, const char *name,
                       const struct plot_notes *notes) {
  struct nk_buffer *script = &canvas->script;
  nk_buffer_printf(script, "%s_n = %zu\n", name, notes->n);
  static const char *const part[] = {"text", "x", "y", "side", "style"};
  for (size_t p = 0; p < sizeof part / sizeof *part; p++)
    nk_buffer_printf(script, "array %s_%s[%zu]\n", name, part[p], notes->n > 0 ? notes->n : 1);
  for (size_t i = 0; i < notes->n; i++) {
    const struct plot_note *note = &notes->note[i];
    char element[64];
    snprintf(element, sizeof element, "%s_text[%zu]", name, i + 1);
    plot_script_text(script, element, note->text);
    nk_buffer_printf(script, "%s_x[%zu] = %.6g\n%s_y[%zu] = %.6g\n", name, i + 1,
                     note->x / canvas->width, name, i + 1, note->y / canvas->height);
    nk_buffer_printf(script, "%s_side[%zu] = %d\n%s_style[%zu] = %d\n", name, i + 1, note->side,
                     name, i + 1, note->style);
  }
}

/* ---- Text ---- */

static int hex_value(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Appends the cell with the escapes of printable characters undone (\x22: a quotation mark), which
 * tables have for other programs only. A backslash stays escaped. */
static void undo_printable(struct nk_buffer *out, const char *cell) {
  for (const char *s = cell; *s != 0; s++) {
    int high = s[0] == '\\' && s[1] == 'x' ? hex_value(s[2]) : -1;
    int low = high >= 0 ? hex_value(s[3]) : -1, byte = 16 * high + low;
    if (low < 0 || byte < 0x20 || byte >= 0x7F) {
      nk_buffer_byte(out, *s);
      continue;
    }
    nk_buffer_text(out, byte == '\\' ? "\\" : "");
    nk_buffer_byte(out, byte);
    s += 3;
  }
}

char *plot_canvas_text(struct plot_canvas *canvas, const char *cell, bool spaces, size_t most) {
  struct nk_buffer text = {0}, shown = {0};
  bool plain = true;
  char *copy = NULL;
  for (const char *s = cell; *s != 0; s++)
    if ((unsigned char)*s >= 0x80) plain = false;
  bool by_fonts = canvas->plot->format == PLOT_PNG || canvas->plot->format == PLOT_PDF;
  if ((!plain || spaces) && by_fonts && !canvas->glyphs_loaded) {
    if (plot_glyphs_load(&canvas->glyphs) != NK_OK) return NULL;
    canvas->glyphs_loaded = true;
  }
  if (spaces)
    undo_printable(&text, cell);
  else
    nk_buffer_text(&text, cell);
  if (text.failed) goto done;
  plot_display(&shown, text.size > 0 ? text.data : "", &canvas->glyphs, spaces, most);
  if (!shown.failed) copy = nk_strndup(shown.size > 0 ? shown.data : "", shown.size);
done:
  nk_buffer_free(&text);
  nk_buffer_free(&shown);
  return copy;
}

double plot_canvas_width(const struct plot_canvas *canvas, const char *text, double em) {
  return plot_text_width(text, canvas->text) * (canvas->text ? 1 : em);
}

/* ---- Begin ---- */

/* A length of 1/96 inch in the units in which each of gnuplot's terminals measures fonts, points
 * and lines (measured with 5.4). */
static const struct terminal {
  const char *name;
  double font, point, line;
} terminals[] = {
    [PLOT_PNG] = {"pngcairo", 0.75, 1 / 3.0, 1},
    [PLOT_SVG] = {"svg", 1, 2.4, 1}, /* its points scale with the font: divided by tick_em below */
    [PLOT_PDF] = {"pdfcairo", 0.5625, 1 / 4.1, 4 / 3.0},
    [PLOT_TEXT] = {"dumb", 1, 1, 1},
};

static void set_terminal(struct plot_canvas *canvas) {
  const struct plot *plot = canvas->plot;
  struct nk_buffer *script = &canvas->script;
  double scale = plot->format == PLOT_PNG ? (double)plot->dpi / 96 : 1;
  nk_buffer_text(script, "set encoding utf8\n");
  nk_buffer_printf(script, "set terminal %s noenhanced ", terminals[plot->format].name);
  switch (plot->format) {
    case PLOT_PNG:
      nk_buffer_printf(script, "size %.0f,%.0f fontscale %.6g pointscale %.6g linewidth %.6g ",
                       round(canvas->width * scale), round(canvas->height * scale), scale, scale,
                       scale);
      break;
    case PLOT_SVG:
      nk_buffer_printf(script, "size %.0f,%.0f ", canvas->width, canvas->height);
      break;
    case PLOT_PDF:
      nk_buffer_printf(script, "size %.6gin,%.6gin fontscale 1 ", canvas->width / 96,
                       canvas->height / 96);
      break;
    case PLOT_TEXT:
      nk_buffer_printf(script, "size %.0f,%.0f mono\n", canvas->width + 1, canvas->height + 1);
      break;
  }
}

static void set_fonts(struct plot_canvas *canvas) {
  const struct plot *plot = canvas->plot;
  const struct terminal *terminal = &terminals[plot->format];
  struct nk_buffer *script = &canvas->script;
  const char *family = plot->format == PLOT_SVG ? "DejaVu Sans" : "Sans";
  if (!canvas->text)
    nk_buffer_printf(script, "background rgb 'white' font '%s,%.6g'\n", family,
                     canvas->tick_em * terminal->font);
  plot_script_number(script, "Text", canvas->text);
  double point = plot->format == PLOT_SVG ? terminal->point / canvas->tick_em : terminal->point;
  plot_script_number(script, "Point", point);
  plot_script_number(script, "Veil",
                     plot->format != PLOT_SVG); /* there it would repeat the texts */
  plot_script_number(script, "Line", terminal->line);
  const double sizes[] = {canvas->em, canvas->tick_em, canvas->title_em};
  static const char *const names[] = {"Font_label", "Font_tick", "Font_title"};
  for (int i = 0; i < 3; i++)
    nk_buffer_printf(script, "%s = ',%.6g'\n", names[i], sizes[i] * terminal->font);
  nk_buffer_printf(script, "Family = '%s'\n", family);
}

/* An SVG is scaled to the page in which it stands: one of few units has texts that can be read
 * there, also on a phone. */
static const struct size {
  double width, height;
} default_size[] = {
    [PLOT_PNG] = {1200, 800},
    [PLOT_SVG] = {660, 440},
    [PLOT_PDF] = {1200, 800},
    [PLOT_TEXT] = {100, 30},
};

static void set_sizes(struct plot_canvas *canvas) {
  const struct plot *plot = canvas->plot;
  const struct size *size = &default_size[plot->format];
  canvas->text = plot->format == PLOT_TEXT;
  canvas->width = plot->width > 0 ? (double)plot->width : size->width;
  canvas->height = plot->height > 0 ? (double)plot->height : size->height;
  if (canvas->text) { /* positions are those of characters, the first at 0 */
    canvas->width -= 1;
    canvas->height -= 1;
  }
  double smaller = fmin(canvas->width / 1200, canvas->height / 800);
  double zoom = canvas->text ? 1 : fmin(fmax(sqrt(smaller), 0.7), 1.4);
  canvas->em = canvas->text ? 1 : 15 * zoom;
  canvas->tick_em = canvas->text ? 1 : 15 * zoom;
  canvas->title_em = canvas->text ? 1 : 22 * zoom;
  canvas->line = canvas->text ? 1 : 1.35 * canvas->em;
}

/* "x=VALUE" or "y=VALUE", ":TEXT" optional after it. */
static int parse_cut(const char *text, const struct plot *plot, struct plot_cut *cut) {
  char *end = NULL;
  *cut = (struct plot_cut){.vertical = text[0] == 'x', .text = ""};
  if ((text[0] == 'x' || text[0] == 'y') && text[1] == '=') cut->at = strtod(text + 2, &end);
  if (end == NULL || end == text + 2 || (*end != 0 && *end != ':') || !(fabs(cut->at) < 1e300))
    return nk_fail(NK_EUSAGE, "line '%s': not of the form x=VALUE[:TEXT] or y=VALUE[:TEXT]", text);
  if (cut->at <= 0 && (cut->vertical ? plot->log_x : plot->log_y))
    return nk_fail(NK_EUSAGE, "line '%s': not positive on a logarithmic axis", text);
  if (*end == ':') cut->text = end + 1;
  return NK_OK;
}

static int parse_cuts(struct plot_canvas *canvas) {
  const struct plot *plot = canvas->plot;
  if (plot->n_lines > PLOT_MAX_CUTS)
    return nk_fail(NK_EUSAGE, "%zu lines: the limit is %d", plot->n_lines, PLOT_MAX_CUTS);
  for (; canvas->n_cuts < plot->n_lines; canvas->n_cuts++) {
    int code = parse_cut(plot->lines[canvas->n_cuts], plot, &canvas->cut[canvas->n_cuts]);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static int check_plot(const struct plot *plot) {
  bool text = plot->format == PLOT_TEXT;
  size_t least_width = text ? 20 : 200, least_height = text ? 10 : 150, most = 20000;
  if ((plot->width > 0 && plot->width < least_width) || plot->width > most ||
      (plot->height > 0 && plot->height < least_height) || plot->height > most)
    return nk_fail(NK_EUSAGE, "size %zux%zu: not between %zux%zu and %zux%zu", plot->width,
                   plot->height, least_width, least_height, most, most);
  if (plot->dpi < 10 || plot->dpi > 1200)
    return nk_fail(NK_EUSAGE, "%zu dots per inch: not between 10 and 1200", plot->dpi);
  if (plot->bins > 10000) return nk_fail(NK_EUSAGE, "%zu bins: the limit is 10000", plot->bins);
  if (plot->n_labels > 500 || plot->n_label_ids > 500)
    return nk_fail(NK_EUSAGE, "too many labels: the limit is 500");
  return NK_OK;
}

int plot_canvas_begin(struct plot_canvas *canvas, const struct plot *plot,
                      const struct cli_frame *frame, const char *x_name, const char *y_name) {
  *canvas = (struct plot_canvas){.plot = plot, .frame = frame};
  int code = check_plot(plot);
  if (code == NK_OK) code = parse_cuts(canvas);
  if (code != NK_OK) return code;
  set_sizes(canvas);
  canvas->x_name =
      plot_canvas_text(canvas, plot->x_label != NULL ? plot->x_label : x_name, false, 0);
  canvas->y_name =
      plot_canvas_text(canvas, plot->y_label != NULL ? plot->y_label : y_name, false, 0);
  if (canvas->x_name == NULL || canvas->y_name == NULL) return NK_EMEMORY;
  set_terminal(canvas);
  set_fonts(canvas);
  return NK_OK;
}

void plot_canvas_free(struct plot_canvas *canvas) {
  nk_buffer_free(&canvas->script);
  plot_glyphs_free(&canvas->glyphs);
  plot_notes_free(&canvas->legend);
  plot_notes_free(&canvas->cut_texts);
  nk_free(canvas->x_name);
  nk_free(canvas->y_name);
  nk_free(canvas->taken);
}

int plot_canvas_legend(struct plot_canvas *canvas, const char *name, int style) {
  struct plot_note note = {
      .text = plot_canvas_text(canvas, name, true, 40), .style = style, .side = 1};
  return plot_notes_add(&canvas->legend, &note);
}

int plot_canvas_legend_rows(struct plot_canvas *canvas, const struct plot_rows *rows) {
  char number[48];
  int code = NK_OK;
  for (size_t g = 0; rows->n_groups > 1 && code == NK_OK && g < rows->n_groups; g++)
    code = plot_canvas_legend(canvas, plot_rows_group_text(rows, g, number), (int)g + 1);
  if (code == NK_OK && rows->n_marked > 0) {
    struct nk_buffer name = {0};
    nk_buffer_printf(&name, "%s (%zu)", canvas->plot->mark, rows->n_marked);
    code = name.failed ? NK_EMEMORY : plot_canvas_legend(canvas, name.data, PLOT_MARK_STYLE);
    nk_buffer_free(&name);
  }
  return code;
}

/* ---- The picture ---- */

static const char *const template_of[] = {
    [PLOT_HISTOGRAM] = "histogram.gp", [PLOT_SCATTER] = "scatter.gp", [PLOT_SCREE] = "scree.gp",
    [PLOT_CURVE] = "curve.gp",         [PLOT_PATHS] = "curve.gp",     [PLOT_HEATMAP] = "heatmap.gp",
};

static int load_template(struct plot_canvas *canvas, const char *name) {
  char *path = plot_template_path(name);
  if (path == NULL) return nk_error_code();
  plot_script_text(&canvas->script, "Template", path);
  nk_buffer_text(&canvas->script, "load Template\n");
  nk_free(path);
  return NK_OK;
}

/* Removes the form feed and empty lines at the beginning, and the spaces at the ends of lines. */
static void tidy_text(struct nk_buffer *picture) {
  size_t kept = 0, line = 0; /* line: behind the last character of this line that is not a space */
  for (size_t i = 0; i < picture->size; i++) {
    char c = picture->data[i];
    if (c == '\f' || (c == '\n' && kept == 0)) continue;
    if (c == '\n') kept = line;
    picture->data[kept++] = c;
    if (c != ' ') line = kept;
  }
  picture->size = kept;
}

int plot_canvas_draw(struct plot_canvas *canvas, struct nk_output *output) {
  struct nk_buffer picture = {0};
  int code = load_template(canvas, "style.gp");
  if (code == NK_OK) code = load_template(canvas, template_of[canvas->plot->kind]);
  if (code == NK_OK && canvas->script.failed)
    code = nk_fail(NK_EMEMORY, "out of memory for a picture");
  if (code == NK_OK) code = plot_gnuplot(&canvas->script, &picture);
  if (code == NK_OK && canvas->text) tidy_text(&picture);
  if (code == NK_OK && canvas->plot->format == PLOT_SVG) code = plot_svg_shorten(&picture);
  if (code == NK_OK) code = nk_output_write(output, picture.data, picture.size);
  nk_buffer_free(&picture);
  return code;
}
