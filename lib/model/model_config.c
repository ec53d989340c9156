/* Values of config.json. A multimodal model keeps its language model's in an object of its own
 * ("text_config"), which is what noken means: it is looked at first. */
#include <noken/base.h>
#include <string.h>

#include <noken/model.h>
#include "model/model.h"

static const char *const nested[] = {"text_config", "llm_config", "language_config"};

/* The value at `path` below object, or NULL. */
static const json_t *follow(const json_t *object, const char *path) {
  while (object) {
    const char *dot = strchr(path, '.');
    size_t n = dot ? (size_t)(dot - path) : strlen(path);
    object = json_object_getn(object, path, n);
    if (!dot) break;
    path = dot + 1;
  }
  return json_is_null(object) ? NULL : object;
}

static const json_t *look_up(const struct nk_model *model, const char *path) {
  for (size_t i = 0; i < sizeof nested / sizeof *nested; i++) {
    const json_t *value = follow(json_object_get(model->config, nested[i]), path);
    if (value) return value;
  }
  return follow(model->config, path);
}

static int not_found(const struct nk_model *model, const char *path) {
  return nk_fail(NK_ENOTFOUND, "%s: config.json has no '%s'", model->files.name, path);
}

static int of_another_type(const struct nk_model *model, const char *path, const char *wanted) {
  return nk_fail(NK_EDATA, "%s: config.json: '%s' is not %s", model->files.name, path, wanted);
}

static int as_integer(const json_t *value, int64_t *out) {
  if (json_is_integer(value)) {
    *out = json_integer_value(value);
    return 0;
  }
  double real = json_real_value(value); /* 1e4, as some tools write it */
  if (!json_is_real(value) || !(real >= -0x1p53 && real <= 0x1p53)) return NK_EDATA;
  if (real != (double)(int64_t)real) return NK_EDATA;
  *out = (int64_t)real;
  return 0;
}

int nk_model_config_integer(const struct nk_model *model, const char *path, int64_t *out) {
  const json_t *value = look_up(model, path);
  if (!value) return not_found(model, path);
  return as_integer(value, out) == 0 ? 0 : of_another_type(model, path, "a whole number");
}

int nk_model_config_number(const struct nk_model *model, const char *path, double *out) {
  const json_t *value = look_up(model, path);
  if (!value) return not_found(model, path);
  if (!json_is_number(value)) return of_another_type(model, path, "a number");
  *out = json_number_value(value);
  return 0;
}

int nk_model_config_bool(const struct nk_model *model, const char *path, bool *out) {
  const json_t *value = look_up(model, path);
  if (!value) return not_found(model, path);
  if (!json_is_boolean(value)) return of_another_type(model, path, "true or false");
  *out = json_is_true(value);
  return 0;
}

int nk_model_config_string(const struct nk_model *model, const char *path, const char **out) {
  const json_t *value = look_up(model, path);
  if (!value) return not_found(model, path);
  if (!json_is_string(value)) return of_another_type(model, path, "a string");
  *out = json_string_value(value);
  return 0;
}

int nk_model_config_number_at(const struct nk_model *model, const char *path, size_t index,
                              double *out) {
  const json_t *array = look_up(model, path);
  if (!array) return not_found(model, path);
  if (!json_is_array(array)) return of_another_type(model, path, "an array");
  const json_t *value = json_array_get(array, index);
  if (!value) return not_found(model, path);
  if (!json_is_number(value)) return of_another_type(model, path, "an array of numbers");
  *out = json_number_value(value);
  return 0;
}

int nk_model_config_string_at(const struct nk_model *model, const char *path, size_t index,
                              const char **out) {
  const json_t *array = look_up(model, path);
  if (!array) return not_found(model, path);
  if (!json_is_array(array)) return of_another_type(model, path, "an array");
  const json_t *value = json_array_get(array, index);
  if (!value) return not_found(model, path);
  if (!json_is_string(value)) return of_another_type(model, path, "an array of strings");
  *out = json_string_value(value);
  return 0;
}

const char *nk_model_type(const struct nk_model *model) {
  const json_t *value = look_up(model, "model_type");
  return json_string_value(value);
}
