/* The layer that a set belongs to, from its metadata noken.space. A set in another place is a
 * warning, not an error: to put vectors of one layer into another is an experiment. */
#include "cli/own_layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_LAYER SIZE_MAX

/* L of "residual:L"; NO_LAYER for another text. */
static size_t layer_of(const char *space) {
  static const char residual[] = "residual:";
  const size_t n = strlen(residual), most_digits = 9;
  if (strncmp(space, residual, n) != 0) return NO_LAYER;
  size_t n_digits = strspn(space + n, "0123456789");
  if (n_digits == 0 || n_digits > most_digits || space[n + n_digits] != 0) return NO_LAYER;
  return strtoul(space + n, NULL, 10);
}

/* Whether the input matrix is known not to be the output matrix. */
static bool is_untied(struct nk_model *model) {
  bool tied = false;
  return nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied) != NULL && !tied;
}

/* Whether the space is known; *layer = its own, or NO_LAYER. */
static bool find_own(struct nk_model *model, const char *space, size_t *layer) {
  *layer = layer_of(space);
  if (*layer != NO_LAYER || strcmp(space, "residual") == 0) return true;
  bool output = strcmp(space, "output") == 0;
  if (strcmp(space, "input") == 0 || (output && !is_untied(model))) *layer = 0;
  return *layer == 0 || output || strcmp(space, "position") == 0;
}

/* own: NO_LAYER where no --at has it. */
static void warn_of(const char *name, const char *space, size_t own, size_t layer, bool others) {
  char use_own[48] = "";
  const char *hint = use_own;
  if (own != NO_LAYER)
    snprintf(use_own, sizeof use_own, "; use --at %zu for their own", own);
  else if (strcmp(space, "residual") == 0)
    hint = "; use a set of one layer";
  else if (layer_of(space) == NO_LAYER && strcmp(space, "input") != 0)
    hint = "; rows of the input embedding or streams of a layer are expected";
  nk_warn("%s: vectors of the space '%s' are put in at layer %zu%s%s", name, space, layer,
          others ? " and others" : "", hint);
}

int cli_own_layer(struct nk_model *model, const char *name, const struct nk_vectors *set,
                  size_t *layers, size_t n, bool *given) {
  const char *space = nk_vectors_metadata(set, "noken.space");
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(model));
  size_t own;
  if (name == NULL || strcmp(name, "-") == 0) name = "standard input";
  if (shape == NULL) return nk_error_code();
  if (space == NULL || !find_own(model, space, &own)) return NK_OK;
  bool has_layer = own != NO_LAYER && own <= shape->n_layers;
  if (given != NULL && !*given && layer_of(space) != NO_LAYER) {
    if (!has_layer)
      return nk_fail(NK_EDATA,
                     "%s: vectors of the space '%s': the model has layers 0 to %zu; use --at L "
                     "for another layer",
                     name, space, shape->n_layers);
    layers[0] = own;
    *given = true;
  }
  for (size_t i = 0; i < n; i++)
    if (layers[i] == own) return NK_OK;
  warn_of(name, space, has_layer && given != NULL ? own : NO_LAYER, layers[0], n > 1);
  return NK_OK;
}
