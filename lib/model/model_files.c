/* Where a model's files are: a folder, a single file, or a name in the Hugging Face cache, which is
 * laid out as
 *
 *   HUB/models--ORG--NAME/refs/main             the text of a commit's hash
 *   HUB/models--ORG--NAME/snapshots/HASH/...    the files, as links into ../../blobs
 *
 * HUB is the first that is set of HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub and
 * ~/.cache/huggingface/hub. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/names.h"
#include "model/model.h"

/* ---- Paths ---- */

/* "a/b/c" from its parts. NULL without memory. */
static char *join(const char *a, const char *b, const char *c) {
  struct nk_buffer path = {0};
  nk_buffer_text(&path, a);
  for (int i = 0; i < 2; i++) {
    const char *part = i == 0 ? b : c;
    if (part == NULL) continue;
    nk_buffer_byte(&path, '/');
    nk_buffer_text(&path, part);
  }
  char *copy = path.failed ? NULL : nk_strdup(path.data);
  if (path.failed) nk_fail(NK_EMEMORY, "%s: out of memory", a);
  nk_buffer_free(&path);
  return copy;
}

static bool is_folder(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The last component of a path, as a copy: "gpt2" of "models/gpt2/". */
static char *last_component(const char *path) {
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/') end--;
  size_t begin = end;
  while (begin > 0 && path[begin - 1] != '/') begin--;
  return nk_strndup(path + begin, end - begin);
}

static int compare_strings(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The paths of a folder's entries, sorted. */
static int list_folder(const char *folder, char ***files, size_t *n_files) {
  DIR *directory = opendir(folder);
  if (directory == NULL) return nk_fail_errno("%s", folder);
  size_t capacity = 0;
  int code = NK_OK;
  struct dirent *entry;
  while (code == NK_OK && (entry = readdir(directory)) != NULL) {
    if (entry->d_name[0] == '.') continue;
    if (*n_files == capacity) {
      char **grown = nk_realloc(*files, *n_files, capacity = 2 * capacity + 32, sizeof *grown);
      if (grown == NULL) {
        code = NK_EMEMORY;
        break;
      }
      *files = grown;
    }
    char *path = join(folder, entry->d_name, NULL);
    if (path != NULL)
      (*files)[(*n_files)++] = path;
    else
      code = NK_EMEMORY;
  }
  closedir(directory);
  if (*n_files > 0) qsort(*files, *n_files, sizeof **files, compare_strings);
  return code;
}

const char *nki_model_files_path(const struct nki_model_files *files, const char *file) {
  for (size_t i = 0; i < files->n_files; i++) {
    const char *slash = strrchr(files->files[i], '/');
    if (strcmp(slash + 1, file) == 0) return files->files[i];
  }
  return NULL;
}

/* ---- The cache ---- */

/* The cache's folder. NULL on failure. */
static char *cache_folder(void) {
  static const struct {
    const char *variable, *rest;
  } places[] = {
      {"HF_HUB_CACHE", NULL},
      {"HF_HOME", "hub"},
      {"XDG_CACHE_HOME", "huggingface/hub"},
      {"HOME", ".cache/huggingface/hub"},
  };
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    const char *value = getenv(places[i].variable);
    if (value != NULL && *value != '\0') return join(value, places[i].rest, NULL);
  }
  nk_fail(NK_ENOTFOUND, "no Hugging Face cache: neither HF_HUB_CACHE, HF_HOME nor HOME is set");
  return NULL;
}

/* Whether a name can be a model's on the hub: NAME or ORG/NAME of letters, digits, '.', '_', '-'.
 */
static bool is_hub_name(const char *name) {
  size_t slashes = 0;
  if (!isalnum((unsigned char)*name)) return false;
  for (const char *c = name; *c != '\0'; c++) {
    if (*c == '/')
      slashes++;
    else if (!isalnum((unsigned char)*c) && strchr("._-", *c) == NULL)
      return false;
    if (*c == '/' && !isalnum((unsigned char)c[1])) return false;
  }
  return slashes <= 1;
}

/* "models--ORG--NAME" in the cache. */
static char *cached_model(const char *cache, const char *organisation, const char *name) {
  struct nk_buffer folder = {0};
  nk_buffer_text(&folder, "models--");
  if (organisation != NULL) nk_buffer_printf(&folder, "%s--", organisation);
  for (const char *c = name; *c != '\0'; c++)
    nk_buffer_text(&folder, *c == '/' ? "--" : (char[]){*c, 0});
  char *path = folder.failed ? NULL : join(cache, folder.data, NULL);
  nk_buffer_free(&folder);
  return path;
}

/* The hash in refs/main; or, where that is missing (a model fetched by its revision), the only
 * snapshot's name. NULL on failure. */
static char *find_revision(const char *repository) {
  char *path = join(repository, "refs", "main"), *revision = NULL;
  struct stat status;
  if (path != NULL && stat(path, &status) == 0) {
    struct nk_file *file = nk_file_open(path);
    size_t n = 0;
    while (file != NULL && n < file->size && isxdigit(file->data[n])) n++;
    if (file != NULL && n > 0)
      revision = nk_strndup((const char *)file->data, n);
    else if (file != NULL)
      nk_fail(NK_EDATA, "%s: no commit hash in this file", path);
    nk_file_free(file);
    nk_free(path);
    return revision;
  }
  nk_free(path);
  char *snapshots = join(repository, "snapshots", NULL), **entries = NULL;
  size_t n = 0;
  if (snapshots != NULL && list_folder(snapshots, &entries, &n) == NK_OK) {
    if (n == 1)
      revision = last_component(entries[0]);
    else
      nk_fail(NK_ENOTFOUND, "%s: no refs/main, and %zu snapshots to choose from", repository, n);
  }
  for (size_t i = 0; i < n; i++) nk_free(entries[i]);
  nk_free(entries);
  nk_free(snapshots);
  return revision;
}

/* The folder of a cached repository's files. NULL on failure. */
static char *snapshot_folder(const char *repository) {
  char *revision = find_revision(repository);
  if (revision == NULL) return NULL;
  char *folder = join(repository, "snapshots", revision);
  nk_free(revision);
  if (folder != NULL && is_folder(folder)) return folder;
  if (folder != NULL)
    nk_fail(NK_ENOTFOUND, "%s: the snapshot named in refs/main is missing", folder);
  nk_free(folder);
  return NULL;
}

/* The folder of the model called name in the cache. NULL on failure. The hub's first models had no
 * organisation and were given one later: a bare name is searched under those too. */
static char *find_in_cache(const char *name) {
  static const char *const organisations[] = {NULL, "openai-community", "distilbert"};
  if (!is_hub_name(name) || nki_ends_with(name, ".gguf") || nki_ends_with(name, ".safetensors")) {
    nk_fail(NK_ENOTFOUND, "%s: no such file or folder", name);
    return NULL;
  }
  char *cache = cache_folder(), *folder = NULL;
  if (cache == NULL) {
    nk_fail_in(NK_ENOTFOUND, "%s: no such file or folder, and", name);
    return NULL;
  }
  size_t n = strchr(name, '/') != NULL ? 1 : sizeof organisations / sizeof *organisations;
  struct nk_buffer tried = {0};
  bool found = false;
  for (size_t i = 0; i < n && !found; i++) {
    char *repository = cached_model(cache, organisations[i], name);
    if (repository != NULL && is_folder(repository)) {
      folder = snapshot_folder(repository);
      found = true;
    } else if (repository != NULL) {
      nk_buffer_printf(&tried, "%s%s", i == 0 ? "" : ", ", strrchr(repository, '/') + 1);
    }
    nk_free(repository);
  }
  if (!found) {
    nk_fail(NK_ENOTFOUND,
            "%s: no such file or folder, nor in the cache %s (%s); 'hf download %s', of Python's "
            "huggingface_hub, fetches a model into it",
            name, cache, tried.data != NULL ? tried.data : "", name);
  }
  nk_buffer_free(&tried);
  nk_free(cache);
  return folder;
}

/* ---- The weights ---- */

static int add_shard(struct nki_model_files *files, const char *path) {
  char **grown = nk_realloc(files->shards, files->n_shards, files->n_shards + 1, sizeof *grown);
  if (grown == NULL) return NK_EMEMORY;
  files->shards = grown;
  grown[files->n_shards] = nk_strdup(path);
  return grown[files->n_shards++] != NULL ? NK_OK : NK_EMEMORY;
}

/* Pickled weights can run code when they are read, so noken does not read them. */
static int fail_pickled(const char *path) {
  return nk_fail(NK_EUNSUPPORTED,
                 "%s: pickled weights are not read; save the model as safetensors "
                 "(Python: model.save_pretrained(FOLDER, safe_serialization=True))",
                 path);
}

/* The shards that the index names. Some may be missing: the embedding alone is often all that was
 * fetched. Their tensors are errors when they are asked for. */
static int find_shards(struct nki_model_files *files, const char *path) {
  const struct nki_shard_index *index = &files->index;
  const char *missing = NULL;
  size_t n_missing = 0;
  int code = nki_shard_index_read(path, &files->index);
  for (size_t s = 0; s < index->n_shards && code == NK_OK; s++) {
    const char *shard = nki_model_files_path(files, index->shards[s]);
    if (shard != NULL) {
      code = add_shard(files, shard);
      continue;
    }
    if (n_missing++ == 0) missing = index->shards[s];
  }
  if (code != NK_OK || n_missing == 0) return code;
  if (files->n_shards == 0)
    return nk_fail(NK_ENOTFOUND, "%s: shard '%.200s' is missing%s", path, missing,
                   n_missing > 1 ? ", and all others" : "");
  nk_warn("%s: %zu of %zu shards are missing (the first is '%.200s'): their tensors cannot be read",
          path, n_missing, index->n_shards, missing);
  return NK_OK;
}

/* Whether the path ends as a shard's of Hugging Face does, "-00002-of-00004.safetensors", or with
 * another ending as a part of a GGUF does: *n is the length of what precedes, *count is
 * "00004.safetensors". */
static bool is_shard(const char *path, const char *ending, size_t *n, const char **count) {
  char pattern[64];
  snprintf(pattern, sizeof pattern, "-#####-of-#####%s", ending);
  size_t length = strlen(path), n_pattern = strlen(pattern);
  if (length < n_pattern) return false;
  *n = length - n_pattern;
  *count = path + *n + strlen("-#####-of-");
  for (size_t i = 0; i < n_pattern; i++) {
    char c = path[*n + i];
    if (pattern[i] == '#' ? !isdigit((unsigned char)c) : c != pattern[i]) return false;
  }
  return true;
}

/* Adds all .safetensors files of a folder without an index when they are shards of one model. */
static bool add_numbered_shards(struct nki_model_files *files, int *code) {
  const char *first = NULL, *first_count = NULL, *count;
  size_t first_n = 0, n;
  for (size_t i = 0; i < files->n_files; i++) {
    const char *path = files->files[i];
    if (!nki_ends_with(path, ".safetensors")) continue;
    if (!is_shard(path, ".safetensors", &n, &count)) return false;
    if (first == NULL) {
      first = path;
      first_n = n;
      first_count = count;
    }
    if (n != first_n || strncmp(path, first, n) != 0 || strcmp(count, first_count) != 0)
      return false;
  }
  *code = NK_OK;
  for (size_t i = 0; i < files->n_files && *code == NK_OK; i++) {
    if (nki_ends_with(files->files[i], ".safetensors")) *code = add_shard(files, files->files[i]);
  }
  return true;
}

static int find_weights(struct nki_model_files *files) {
  const char *single = nki_model_files_path(files, "model.safetensors");
  if (single != NULL) return add_shard(files, single);
  const char *index = nki_model_files_path(files, "model.safetensors.index.json");
  if (index != NULL) return find_shards(files, index);
  if (nki_model_files_path(files, "adapter_config.json") != NULL)
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: an adapter without its model, which adapter_config.json names; merge them "
                   "(Python, peft: model.merge_and_unload().save_pretrained(FOLDER))",
                   files->folder);
  const char *pickle = NULL, *found = NULL, *gguf = NULL;
  size_t n_found = 0;
  for (size_t i = 0; i < files->n_files; i++) {
    const char *path = files->files[i];
    if (nki_ends_with(path, ".safetensors")) {
      found = path;
      n_found++;
    }
    if (nki_ends_with(path, ".bin") || nki_ends_with(path, ".pt") || nki_ends_with(path, ".pth"))
      pickle = path;
    if (nki_ends_with(path, ".gguf")) gguf = path;
  }
  if (n_found == 1) return add_shard(files, found);
  int code;
  if (n_found > 1 && add_numbered_shards(files, &code)) return code;
  if (n_found > 1) {
    return nk_fail(NK_EDATA, "%s: %zu .safetensors files and no model.safetensors.index.json",
                   files->folder, n_found);
  }
  if (pickle != NULL) return fail_pickled(pickle);
  if (gguf != NULL)
    return nk_fail(NK_ENOTFOUND, "%s: no safetensors weights (name %s itself to read that)",
                   files->folder, strrchr(gguf, '/') + 1);
  return nk_fail(NK_ENOTFOUND,
                 "%s: no weights in this folder (model.safetensors, or "
                 "model.safetensors.index.json and its shards)",
                 files->folder);
}

/* A GGUF is one file, or as many as its name says. Like llama.cpp, which has the metadata in the
 * first, noken takes that one's name. */
static int add_parts(struct nki_model_files *files, const char *path) {
  const char *count;
  size_t n;
  if (!is_shard(path, ".gguf", &n, &count)) return add_shard(files, path);
  unsigned long n_parts = strtoul(count, NULL, 10);
  if (strtoul(path + n + 1, NULL, 10) != 1)
    return nk_fail(NK_EUSAGE, "%s: a part of a GGUF; name the first, ...-00001-of-%s", path, count);
  int code = n_parts > 0 ? NK_OK : nk_fail(NK_EDATA, "%s: part 1 of 0 by its name", path);
  for (unsigned long i = 1; i <= n_parts && code == NK_OK; i++) {
    struct nk_buffer part = {0};
    struct stat status;
    nk_buffer_printf(&part, "%.*s-%05lu-of-%s", (int)n, path, i, count);
    if (part.failed)
      code = nk_fail(NK_EMEMORY, "%s: out of memory", path);
    else if (stat(part.data, &status) != 0)
      code = nk_fail_errno("%s", part.data);
    else
      code = add_shard(files, part.data);
    nk_buffer_free(&part);
  }
  return code;
}

int nki_model_files_locate(const char *model, struct nki_model_files *files) {
  struct stat status;
  bool exists = stat(model, &status) == 0;
  if (!exists && errno != ENOENT && errno != ENOTDIR) return nk_fail_errno("%s", model);
  if (exists && !S_ISDIR(status.st_mode)) {
    files->name = last_component(model);
    if (files->name == NULL) return NK_EMEMORY;
    bool pickle =
        nki_ends_with(model, ".bin") || nki_ends_with(model, ".pt") || nki_ends_with(model, ".pth");
    return pickle ? fail_pickled(model) : add_parts(files, model);
  }
  if (!exists) {
    files->name = nk_strdup(model);
    files->folder = find_in_cache(model);
  } else {
    files->name = last_component(model);
    char *snapshots = join(model, "snapshots", NULL); /* the cache's own folder of a model */
    bool is_repository = snapshots != NULL && is_folder(snapshots);
    nk_free(snapshots);
    files->folder = is_repository ? snapshot_folder(model) : nk_strdup(model);
  }
  if (files->name == NULL || files->folder == NULL) return nk_error_code();
  return list_folder(files->folder, &files->files, &files->n_files);
}

int nki_model_files_find(const char *model, struct nki_model_files *files) {
  int code = nki_model_files_locate(model, files);
  return code == NK_OK && files->folder != NULL ? find_weights(files) : code;
}

void nki_model_files_free(struct nki_model_files *files) {
  for (size_t i = 0; i < files->n_files; i++) nk_free(files->files[i]);
  for (size_t i = 0; i < files->n_shards; i++) nk_free(files->shards[i]);
  nk_free(files->files);
  nk_free(files->shards);
  nk_free(files->folder);
  nk_free(files->name);
  nki_shard_index_free(&files->index);
}
