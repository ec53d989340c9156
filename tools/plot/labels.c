/* The positions of labels: near their points, without overlaps, inside the frame, and covering few
 * points. Each label tries places on rings around its point. The first label has the first choice;
 * then, the neighbours known, each moves again while its cost falls. */
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"

/* Directions and rings that a label tries. The work grows with the square of the number of labels:
 * with more than MANY of them fewer are tried. */
enum { N_ANGLES = 72, FEW_ANGLES = 24, N_RINGS = 24, ROUNDS = 5, FEW_ROUNDS = 2, MANY = 150 };

/* ---- Points under a box ---- */

struct ink {
  size_t columns, rows;
  double cell, x0, y0;
  double *sum; /* [rows + 1, columns + 1]: the number of cells below and left of here that have
                  points */
};

static size_t ink_index(double place, double cell, size_t n) {
  return (size_t)fmin(fmax(floor(place / cell + 0.5), 0), (double)n);
}

static int ink_make(struct ink *ink, const struct plot_placing *placing) {
  const struct plot_box *frame = &placing->frame;
  ink->cell = fmax(placing->gap / 2, 1e-3);
  ink->x0 = frame->x0;
  ink->y0 = frame->y0;
  ink->columns = (size_t)fmin(ceil((frame->x1 - frame->x0) / ink->cell), 2000) + 1;
  ink->rows = (size_t)fmin(ceil((frame->y1 - frame->y0) / ink->cell), 2000) + 1;
  size_t stride = ink->columns + 1;
  ink->sum = nk_calloc((ink->rows + 1) * stride, sizeof *ink->sum);
  if (ink->sum == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < placing->n_ink; i++) {
    double column = floor((placing->ink_x[i] - ink->x0) / ink->cell);
    double row = floor((placing->ink_y[i] - ink->y0) / ink->cell);
    if (column >= 0 && row >= 0 && column < (double)ink->columns && row < (double)ink->rows)
      ink->sum[((size_t)row + 1) * stride + (size_t)column + 1] = 1;
  }
  for (size_t r = 1; r <= ink->rows; r++)
    for (size_t c = 1; c < stride; c++)
      ink->sum[r * stride + c] += ink->sum[(r - 1) * stride + c] + ink->sum[r * stride + c - 1] -
                                  ink->sum[(r - 1) * stride + c - 1];
  return NK_OK;
}

/* The share of the box's cells that have points. */
static double ink_under(const struct ink *ink, const struct plot_box *box) {
  size_t c0 = ink_index(box->x0 - ink->x0, ink->cell, ink->columns);
  size_t c1 = ink_index(box->x1 - ink->x0, ink->cell, ink->columns);
  size_t r0 = ink_index(box->y0 - ink->y0, ink->cell, ink->rows);
  size_t r1 = ink_index(box->y1 - ink->y0, ink->cell, ink->rows);
  size_t stride = ink->columns + 1, cells = (c1 - c0) * (r1 - r0);
  if (cells == 0) return 0;
  double sum = ink->sum[r1 * stride + c1] - ink->sum[r0 * stride + c1] -
               ink->sum[r1 * stride + c0] + ink->sum[r0 * stride + c0];
  return sum / (double)cells;
}

/* ---- Boxes and lines ---- */

static bool boxes_meet(const struct plot_box *a, const struct plot_box *b, double gap) {
  return a->x0 < b->x1 + gap && b->x0 < a->x1 + gap && a->y0 < b->y1 + gap && b->y0 < a->y1 + gap;
}

static bool holds_point(const struct plot_box *box, double x, double y, double gap) {
  return x > box->x0 - gap && x < box->x1 + gap && y > box->y0 - gap && y < box->y1 + gap;
}

/* Does the segment a-b enter the box? Clipped at each edge by Liang and Barsky (1984). */
static bool segment_meets_box(double ax, double ay, double bx, double by,
                              const struct plot_box *box) {
  double from = 0, to = 1;
  const double delta[4] = {ax - bx, bx - ax, ay - by, by - ay};
  const double room[4] = {ax - box->x0, box->x1 - ax, ay - box->y0, box->y1 - ay};
  for (int edge = 0; edge < 4; edge++) {
    if (delta[edge] == 0) {
      if (room[edge] < 0) return false;
    } else if (delta[edge] < 0) {
      from = fmax(from, room[edge] / delta[edge]);
    } else {
      to = fmin(to, room[edge] / delta[edge]);
    }
  }
  return from < to;
}

static double side_of(double ax, double ay, double bx, double by, double x, double y) {
  return (bx - ax) * (y - ay) - (by - ay) * (x - ax);
}

static bool leaders_cross(const struct plot_label *a, const struct plot_label *b) {
  if (!a->leader || !b->leader) return false;
  double s1 = side_of(a->x, a->y, a->end_x, a->end_y, b->x, b->y);
  double s2 = side_of(a->x, a->y, a->end_x, a->end_y, b->end_x, b->end_y);
  double s3 = side_of(b->x, b->y, b->end_x, b->end_y, a->x, a->y);
  double s4 = side_of(b->x, b->y, b->end_x, b->end_y, a->end_x, a->end_y);
  return s1 * s2 < 0 && s3 * s4 < 0;
}

static double clamp(double value, double lo, double hi) {
  return value < lo ? lo : value > hi ? hi : value;
}

/* ---- Candidates ---- */

/* Puts the lower left corner of the label's box at (x, y), and the end of its leader on the side
 * that faces the point, at the middle of a vertical side. */
static void put_at(struct plot_label *label, double x, double y, double gap) {
  label->box = (struct plot_box){x, y, x + label->width, y + label->height};
  label->end_x = clamp(label->x, x, x + label->width);
  label->end_y = clamp(label->y, y, y + label->height);
  if (label->x < x || label->x > x + label->width) label->end_y = y + label->height / 2;
  double dx = label->end_x - label->x, dy = label->end_y - label->y;
  label->leader = sqrt(dx * dx + dy * dy) > 2.2 * gap;
}

/* Puts the label's box in direction `angle` from its point, its nearest edge `distance` away. A
 * label to the right of the point begins there, one above is centred on it, others are in between.
 */
static void put(struct plot_label *label, double angle, double distance, double gap) {
  double c = cos(angle), s = sin(angle);
  double x = label->x + c * distance + (c - 1) * label->width / 2;
  double y = label->y + s * distance + (s - 1) * label->height / 2;
  put_at(label, x, y, gap);
}

/* The cost of the place that label[me] has: infinite where it is not allowed. */
static double cost_of(const struct plot_label *labels, size_t n, size_t me, const struct ink *ink,
                      const struct plot_placing *placing) {
  const struct plot_label *label = &labels[me];
  const struct plot_box *box = &label->box, *frame = &placing->frame;
  double gap = placing->gap;
  if (box->x0 < frame->x0 || box->x1 > frame->x1 || box->y0 < frame->y0 || box->y1 > frame->y1)
    return INFINITY;
  if (holds_point(box, label->x, label->y, 0.6 * gap)) return INFINITY;
  for (size_t i = 0; i < placing->n_taken; i++)
    if (boxes_meet(box, &placing->taken[i], gap / 3)) return INFINITY;
  double dx = label->end_x - label->x, dy = label->end_y - label->y;
  double cost = fmax(1, sqrt(dx * dx + dy * dy) / gap) + 14 * ink_under(ink, box);
  if (label->leader) cost += 2;
  for (size_t i = 0; i < n; i++) {
    const struct plot_label *other = &labels[i];
    if (i == me) continue;
    if (holds_point(box, other->x, other->y, gap / 2)) cost += 12;
    if (!other->placed) continue;
    if (boxes_meet(box, &other->box, gap / 3)) return INFINITY;
    if (leaders_cross(label, other)) cost += 10;
    if (other->leader && segment_meets_box(other->x, other->y, other->end_x, other->end_y, box))
      cost += 60;
    if (label->leader &&
        segment_meets_box(label->x, label->y, label->end_x, label->end_y, &other->box))
      cost += 60;
  }
  return cost;
}

/* Moves label[me] to its best place and returns its cost; where none is better than `limit`, the
 * label stays and limit is returned. */
static double find_place(struct plot_label *labels, size_t n, size_t me, double limit,
                         const struct ink *ink, const struct plot_placing *placing) {
  static const double pi = 3.14159265358979323846;
  struct plot_label best = labels[me], before = labels[me];
  double least = limit, distance = placing->gap;
  bool found = false;
  for (int ring = 0; ring < N_RINGS; ring++) {
    if (distance / placing->gap - 2 > least) break; /* places farther away cost more */
    int angles = n > MANY || ring < 4 ? FEW_ANGLES : N_ANGLES;
    for (int step = 0; step < angles; step++) { /* right, up-right, down-right, ... */
      int turn = step % 2 ? (step + 1) / 2 : -step / 2;
      put(&labels[me], 2 * pi * turn / angles, distance, placing->gap);
      double cost = cost_of(labels, n, me, ink, placing) + 0.5 * step / angles;
      if (cost < least - 1e-9) {
        least = cost;
        best = labels[me];
        found = true;
      }
    }
    distance = distance * 1.18 + placing->gap / 3;
  }
  labels[me] = found ? best : before;
  if (found) labels[me].placed = true;
  return least;
}

/* Exchanges two labels where that costs less, as it does where their leaders cross: each tries the
 * other's place, aligned with it at the left or at the right. */
static void try_exchange(struct plot_label *labels, size_t n, size_t a, size_t b,
                         const struct ink *ink, const struct plot_placing *placing) {
  struct plot_label old_a = labels[a], old_b = labels[b];
  double before = cost_of(labels, n, a, ink, placing) + cost_of(labels, n, b, ink, placing);
  for (int side = 0; side < 4; side++) {
    double a_x = side % 2 ? old_b.box.x1 - old_a.width : old_b.box.x0;
    double b_x = side / 2 ? old_a.box.x1 - old_b.width : old_a.box.x0;
    put_at(&labels[a], a_x, old_b.box.y0, placing->gap);
    put_at(&labels[b], b_x, old_a.box.y0, placing->gap);
    double after = cost_of(labels, n, a, ink, placing) + cost_of(labels, n, b, ink, placing);
    if (after < before - 1e-9) return;
    labels[a] = old_a;
    labels[b] = old_b;
  }
}

static void exchange_crossed(struct plot_label *labels, size_t n, const struct ink *ink,
                             const struct plot_placing *placing) {
  for (size_t a = 0; a < n; a++)
    for (size_t b = a + 1; b < n; b++)
      if (labels[a].placed && labels[b].placed && (labels[a].leader || labels[b].leader))
        try_exchange(labels, n, a, b, ink, placing);
}

int plot_labels_place(struct plot_label *labels, size_t n, const struct plot_placing *placing) {
  struct ink ink = {0};
  int code = ink_make(&ink, placing);
  for (size_t i = 0; code == NK_OK && i < n; i++) labels[i].placed = false;
  int rounds = n > MANY ? FEW_ROUNDS : ROUNDS;
  for (int round = 0; code == NK_OK && round < rounds; round++) {
    for (size_t i = 0; i < n; i++) {
      double now = labels[i].placed ? cost_of(labels, n, i, &ink, placing) : INFINITY;
      find_place(labels, n, i, now, &ink, placing);
    }
    if (n <= MANY) exchange_crossed(labels, n, &ink, placing);
  }
  nk_free(ink.sum);
  return code;
}

/* ---- Labels in a column ---- */

static int compare_pointed(const void *a, const void *b) {
  double x = **(double *const *)a, y = **(double *const *)b;
  return (x > y) - (x < y);
}

/* Neighbours closer than `apart` become a block: evenly spaced about the mean of its members'
 * positions. Blocks that then overlap are joined. */
int plot_spread(double *centres, size_t n, double apart, double lo, double hi) {
  if (n == 0) return NK_OK;
  double **order = nk_alloc(n, sizeof *order);
  double *first = nk_alloc(n, sizeof *first); /* of each block: its first member's position */
  size_t *count = nk_alloc(n, sizeof *count);
  size_t blocks = 0;
  int code = order != NULL && first != NULL && count != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < n; i++) order[i] = &centres[i];
  if (code == NK_OK) qsort(order, n, sizeof *order, compare_pointed);
  for (size_t i = 0; code == NK_OK && i < n; i++) {
    first[blocks] = *order[i];
    count[blocks++] = 1;
    for (;;) {
      double *block = &first[blocks - 1], length = (double)(count[blocks - 1] - 1) * apart;
      *block = fmax(lo, fmin(*block, hi - length));
      if (blocks < 2) break;
      double end = first[blocks - 2] + (double)count[blocks - 2] * apart;
      if (*block >= end - 1e-9 * apart) break;
      double a = (double)count[blocks - 2], b = (double)count[blocks - 1];
      first[blocks - 2] = (a * first[blocks - 2] + b * (*block - a * apart)) / (a + b);
      count[blocks - 2] += count[blocks - 1];
      blocks--;
    }
  }
  for (size_t b = 0, i = 0; code == NK_OK && b < blocks; b++)
    for (size_t k = 0; k < count[b]; k++) *order[i++] = first[b] + (double)k * apart;
  nk_free(order);
  nk_free(first);
  nk_free(count);
  return code;
}
