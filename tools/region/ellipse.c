/* nk-region ellipse: points on the ellipse of a region's normal distribution. */
#include <stdio.h>

#include "plot/ellipse.h"
#include "region/region.h"

int region_ellipse(const struct region_options *o, struct nk_region *region,
                   struct cli_table *table) {
  int64_t *chosen = NULL;
  size_t n_chosen = 0;
  struct nk_pca *other = NULL;
  struct plot_normal normal;
  double *x = NULL, *y = NULL;
  char names[2][32];
  int code = cli_parse_ids("--components", o->components, &chosen, &n_chosen);
  if (code == NK_OK && (n_chosen != 2 || chosen[0] < 1 || chosen[1] < 1))
    code = nk_fail(NK_EUSAGE, "--components: two numbers from 1, as in 1,2");
  if (code == NK_OK && o->with != NULL && (other = nk_pca_read(o->with)) == NULL)
    code = nk_error_code();
  const struct nk_pca *basis = code != NK_OK   ? NULL
                               : other != NULL ? other
                                               : nk_region_basis(region);
  if (code == NK_OK && basis == NULL) code = nk_error_code();
  if (code == NK_OK)
    code =
        plot_project_region(region, basis, (size_t)chosen[0] - 1, (size_t)chosen[1] - 1, &normal);
  if (code == NK_OK) {
    x = nk_alloc(o->points, sizeof *x);
    y = nk_alloc(o->points, sizeof *y);
    if (x == NULL || y == NULL) code = NK_EMEMORY;
  }
  for (int i = 0; i < 2 && code == NK_OK; i++) {
    snprintf(names[i], sizeof names[i], "pc%lld", (long long)chosen[i]);
    code = cli_table_column(table, names[i]);
  }
  if (code == NK_OK) plot_ellipse(&normal, 1 - o->level, o->points, x, y);
  for (size_t i = 0; i < o->points && code == NK_OK; i++) {
    cli_table_number(table, x[i]);
    cli_table_number(table, y[i]);
    code = cli_table_end_row(table);
  }
  nk_pca_free(other);
  nk_free(chosen);
  nk_free(x);
  nk_free(y);
  return code;
}
