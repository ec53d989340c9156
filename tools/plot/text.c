/* Text on the canvas: how a token is shown, and its width. */
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "cli/process.h"
#include "plot/internal.h"

/* ---- Glyphs ----
 * Pango draws a box for a character that no font has, and at the scale at which gnuplot draws text
 * that box covers half the picture. Such characters must not reach it. */

static int add_range(struct plot_glyphs *glyphs, unsigned long from, unsigned long to) {
  if (glyphs->n == glyphs->capacity) {
    size_t capacity = glyphs->capacity > 0 ? 2 * glyphs->capacity : 256;
    void *grown = nk_realloc(glyphs->range, glyphs->n, capacity, sizeof *glyphs->range);
    if (grown == NULL) return NK_EMEMORY;
    glyphs->range = grown;
    glyphs->capacity = capacity;
  }
  glyphs->range[glyphs->n][0] = (uint32_t)from;
  glyphs->range[glyphs->n++][1] = (uint32_t)to;
  return NK_OK;
}

static int compare_ranges(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* Sorts the ranges and joins those that overlap, for the binary search. */
static void join_ranges(struct plot_glyphs *glyphs) {
  if (glyphs->n == 0) return;
  qsort(glyphs->range, glyphs->n, sizeof *glyphs->range, compare_ranges);
  size_t kept = 0;
  for (size_t i = 1; i < glyphs->n; i++) {
    if (glyphs->range[i][0] <= glyphs->range[kept][1] + 1) {
      if (glyphs->range[i][1] > glyphs->range[kept][1])
        glyphs->range[kept][1] = glyphs->range[i][1];
    } else {
      kept++;
      memmove(glyphs->range[kept], glyphs->range[i], sizeof *glyphs->range);
    }
  }
  glyphs->n = kept + 1;
}

int plot_glyphs_parse(struct plot_glyphs *glyphs, const char *charsets) {
  int code = add_range(glyphs, ' ', '~');
  if (code == NK_OK) code = add_range(glyphs, 0xA1, 0xFF);
  for (const char *s = charsets; code == NK_OK && *s != 0;) {
    char *end;
    unsigned long from = strtoul(s, &end, 16), to = from;
    if (end == s) break;
    if (*end == '-') to = strtoul(end + 1, &end, 16);
    code = add_range(glyphs, from, to);
    s = end + strspn(end, " \n");
  }
  join_ranges(glyphs);
  return code;
}

int plot_glyphs_load(struct plot_glyphs *glyphs) {
  static const char *const command[] = {"fc-list", "-f", "%{charset}\n", NULL};
  struct nk_buffer charsets = {0}, errors = {0};
  int status;
  int code = cli_process_run(command, NULL, &charsets, &errors, &status);
  if (code == NK_ENOTFOUND) { /* no fontconfig: the characters that every font has */
    status = 1;
    code = NK_OK;
  }
  bool known = code == NK_OK && status == 0 && charsets.size > 0;
  if (code == NK_OK) code = plot_glyphs_parse(glyphs, known ? charsets.data : "");
  nk_buffer_free(&charsets);
  nk_buffer_free(&errors);
  return code;
}

void plot_glyphs_free(struct plot_glyphs *glyphs) {
  nk_free(glyphs->range);
  *glyphs = (struct plot_glyphs){0};
}

bool plot_glyphs_hold(const struct plot_glyphs *glyphs, uint32_t code) {
  if (glyphs->n == 0) return true;
  size_t lo = 0, hi = glyphs->n;
  while (lo < hi) {
    size_t middle = (lo + hi) / 2;
    if (code > glyphs->range[middle][1]) {
      lo = middle + 1;
    } else {
      hi = middle;
    }
  }
  return lo < glyphs->n && code >= glyphs->range[lo][0];
}

/* ---- Cells ---- */

/* Is the character invisible, or does it change the text around it? */
static bool is_invisible(uint32_t code) {
  if (code == ' ') return false;
  switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return true;
    default: /* variation selectors */
      return (code >= 0xFE00 && code <= 0xFE0F) || (code >= 0xE0100 && code <= 0xE01EF);
  }
}

static bool is_mark(uint32_t code) {
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
         category == UTF8PROC_CATEGORY_MC;
}

static void display_one(struct nk_buffer *out, const char *bytes, size_t length, bool first,
                        const struct plot_glyphs *glyphs) {
  utf8proc_int32_t code = -1;
  if (length > 0)
    utf8proc_iterate((const utf8proc_uint8_t *)bytes, (utf8proc_ssize_t)length, &code);
  if (code < 0) { /* not valid UTF-8: a text that is not from a table */
    nk_buffer_printf(out, "\\x%02x", (unsigned char)bytes[0]);
  } else if (is_invisible((uint32_t)code) || !plot_glyphs_hold(glyphs, (uint32_t)code)) {
    nk_buffer_printf(out, "\\u{%x}", (unsigned)code);
  } else {
    if (first && is_mark((uint32_t)code) && plot_glyphs_hold(glyphs, 0x25CC))
      nk_buffer_text(out, "\u25CC");
    nk_buffer_append(out, bytes, length);
  }
}

void plot_display(struct nk_buffer *out, const char *cell, const struct plot_glyphs *glyphs,
                  bool spaces, size_t max_columns) {
  const char *space = plot_glyphs_hold(glyphs, 0x2423) ? "\u2423" : "\u00B7";
  size_t n = strlen(cell), begin = 0, end = n;
  if (spaces) {
    while (begin < n && cell[begin] == ' ') begin++;
    while (end > begin && cell[end - 1] == ' ') end--;
  }
  double columns = 0;
  size_t shortened = out->size; /* where to cut: a column is left for the ellipsis */
  for (size_t i = 0; i < n;) {
    size_t length = nk_utf8_length(cell + i, n - i), before = out->size;
    if (spaces && (i < begin || i >= end)) {
      nk_buffer_text(out, space);
    } else {
      display_one(out, cell + i, length, i == 0, glyphs);
    }
    if (out->failed) return;
    columns += plot_text_width(out->data + before, true);
    if (max_columns > 0 && columns > (double)max_columns) {
      out->size = shortened;
      nk_buffer_text(out, "\u2026");
      return;
    }
    if (columns <= (double)max_columns - 1) shortened = out->size;
    i += length > 0 ? length : 1;
  }
}

/* ---- Widths ---- */

/* Advance widths of ' ' to '~' in DejaVu Sans, thousandths of an em. */
static const short advance[95] = {
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361,  318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635,  611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352,  635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592,  525, 636, 337, 636, 838};

static double code_width(uint32_t code, bool cells) {
  int columns = utf8proc_charwidth((utf8proc_int32_t)code);
  if (cells) return columns;
  if (code >= ' ' && code <= '~') return advance[code - ' '] / 1000.0;
  if (code == 0x2026) return 1;    /* ellipsis */
  if (code == 0x00D7) return 0.84; /* multiplication sign */
  if (code == 0x2212) return 0.84; /* minus */
  if (code == 0x207B) return 0.53;
  if (code == 0x00B9 || code == 0x00B2 || code == 0x00B3 || (code >= 0x2070 && code <= 0x2079))
    return 0.41; /* superscript digits */
  return columns == 2 ? 1.05 : columns == 1 ? 0.68 : 0;
}

double plot_text_width(const char *text, bool cells) {
  double width = 0;
  size_t n = strlen(text);
  for (size_t i = 0; i < n;) {
    utf8proc_int32_t code = -1;
    utf8proc_ssize_t used =
        utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &code);
    width += code_width(used > 0 ? (uint32_t)code : '?', cells);
    i += used > 0 ? (size_t)used : 1;
  }
  return width;
}
