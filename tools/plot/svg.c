/* What gnuplot's SVG lacks: a bold font that other programs know, and a short form of points. It
 * writes an element of 100 bytes for each point; here points of one size and colour that follow one
 * another become a path, with a line of no length and round ends for each. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "plot/internal.h"

/* Points in one path. Those of a path that is translucent do not darken each other where they
 * overlap, those of different paths do. */
enum { MOST_OPAQUE = 4096, MOST_TRANSLUCENT = 32 };

enum { MOST_FAR = 1 << 20 }; /* coordinates of a point that is written short */

/* Filled circles as gnuplot writes them: position, radius, and the rest of the element: colour and
 * opacity. */
struct dot {
  double x, y, radius;
  char look[80];
};

static bool parse_dot(const char *line, struct dot *dot) {
  int end = 0;
  /* NOLINTNEXTLINE(cert-err34-c): gnuplot's own numbers; what is too far is refused below */
  if (sscanf(line,
             "\t<use xlink:href='#gpPt6' transform='translate(%lf,%lf) scale(%lf)' %79[^/]/>%n",
             &dot->x, &dot->y, &dot->radius, dot->look, &end) != 4)
    return false;
  return end > 0 && line[end] == 0 && strncmp(dot->look, "color='", 7) == 0 &&
         fabs(dot->x) < MOST_FAR && fabs(dot->y) < MOST_FAR;
}

/* A coordinate to a tenth of 1/96 inch, without what does not change it. */
static void add_coordinate(struct nk_buffer *out, double value) {
  char text[32];
  size_t n = (size_t)snprintf(text, sizeof text, "%.1f", value);
  if (n > 2 && text[n - 1] == '0') n -= 2;
  nk_buffer_append(out, text, n);
}

struct dots {
  double edge; /* of the circle: the line around it, in units of its radius */
  struct dot first;
  size_t n; /* in the path that is open; 0: none is */
};

static void end_path(struct nk_buffer *out, struct dots *dots) {
  if (dots->n > 0)
    nk_buffer_printf(out,
                     "' fill='none' stroke='currentColor' stroke-linecap='round' "
                     "stroke-width='%.4g' %s/>\n",
                     (2 + dots->edge) * dots->first.radius, dots->first.look);
  dots->n = 0;
}

static void add_dot(struct nk_buffer *out, struct dots *dots, const struct dot *dot) {
  size_t most = strstr(dot->look, "opacity=") != NULL ? MOST_TRANSLUCENT : MOST_OPAQUE;
  bool same = dot->radius == dots->first.radius && strcmp(dot->look, dots->first.look) == 0;
  if (dots->n == most || !same) end_path(out, dots);
  if (dots->n == 0) {
    dots->first = *dot;
    nk_buffer_text(out, "\t<path d='");
  }
  nk_buffer_byte(out, 'M');
  add_coordinate(out, dot->x);
  nk_buffer_byte(out, ',');
  add_coordinate(out, dot->y);
  nk_buffer_text(out, "h0");
  dots->n++;
}

/* gnuplot gives "DejaVu Sans:Bold" as the name of a family. */
static void add_line(struct nk_buffer *out, const char *line) {
  static const char bold[] = ":Bold\"";
  const char *at = strstr(line, "font-family=\""), *end = NULL;
  if (at != NULL) end = strstr(at, bold);
  if (end != NULL) {
    nk_buffer_append(out, line, (size_t)(end - line));
    nk_buffer_text(out, "\" font-weight=\"bold\"");
    line = end + sizeof bold - 1;
  }
  nk_buffer_text(out, line);
  nk_buffer_byte(out, '\n');
}

int plot_svg_shorten(struct nk_buffer *picture) {
  struct nk_buffer out = {0};
  struct dots dots = {0};
  char *rest = picture->size > 0 ? picture->data : NULL;
  for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
    struct dot dot;
    if (parse_dot(line, &dot)) {
      add_dot(&out, &dots, &dot);
    } else {
      end_path(&out, &dots);
      /* NOLINTNEXTLINE(cert-err34-c): gnuplot's own number */
      sscanf(line, " <circle id='gpPt5' stroke-width='%lf'", &dots.edge);
      if (rest != NULL || *line != 0) add_line(&out, line);
    }
  }
  end_path(&out, &dots);
  nk_buffer_free(picture);
  *picture = out;
  return out.failed ? nk_fail(NK_EMEMORY, "out of memory for a picture") : NK_OK;
}
