/* Scans that several processes share without talk: --shard I/N.
 *
 * The last digits of a row depend on which other rows go through the model with it: BLAS takes
 * other kernels at the edges of a product. A scan is therefore always made of the same blocks of
 * items, each computed by a call of its own, whether one process runs all of them or each of N
 * processes some. A shard is a range of the blocks in the table's order, so that the outputs of
 * the shards, one after the other, are the bytes of the whole run. */
#ifndef CLI_SHARD_H
#define CLI_SHARD_H

#include <noken/probe.h>

#include "cli/tool.h"

/* Items of a block. What a block computes anew, the positions before the first slot and a reading
 * of all weights, is small beside so many items; a table of fewer items has one block. */
enum { CLI_BLOCK = 4096 };

/* A row of a tool's array of options; the string is for cli_shard_parse. */
/* clang-format off */
#define CLI_SHARD_OPTION(string)                                                  \
  {0, "shard", CLI_OPTION_STRING, (string), "I/N",                                \
   "output part I of N: all parts, joined, are the whole"}
/* clang-format on */

/* Part `number` of n, from 1 on; valid when zeroed: the whole. */
struct cli_shard {
  size_t number, n;
};

/* Parses "2/3"; NULL is the whole. NK_OK or NK_EUSAGE. */
int cli_shard_parse(const char *text, struct cli_shard *shard);
/* Whether the shard writes what comes once: a table's header. */
bool cli_shard_is_first(const struct cli_shard *shard);
/* range = the shard's blocks [range[0], range[1]) of n: n (I - 1) / N to n I / N, rounded down. */
void cli_shard_range(const struct cli_shard *shard, size_t n, size_t range[2]);
/* As cli_new_table, without a header where another shard has it. */
struct cli_table *cli_shard_table(const struct cli_shard *shard, const struct cli_run *run,
                                  struct nk_output *output);

/* Sets the metadata noken.shard of a part to "I/N": nk-convert --cat looks whether all parts are
 * there. NK_OK or a negative code. */
int cli_shard_mark(const struct cli_shard *shard, struct nk_vectors *set);

/* ---- Blocks ---- */

/* Items [first, first + n) of scan number `scan`: several scans of the same items, such as one in
 * each prompt, follow one another. */
struct cli_block {
  size_t scan, first, n;
};

/* The number of blocks in n_scans scans of n_items items each, blocks of `size` items. */
size_t cli_count_blocks(size_t n_scans, size_t n_items, size_t size);
struct cli_block cli_block_at(size_t number, size_t n_items, size_t size);
/* range = the shard's items [range[0], range[1]) of all scans, number scan * n_items + item: those
 * of its blocks. */
void cli_shard_items(const struct cli_shard *shard, size_t n_scans, size_t n_items, size_t size,
                     size_t range[2]);
/* Reports block `number` of the range as begun, or all of them as done (range[1]). NK_OK or a
 * negative code. */
int cli_report_block(size_t number, const size_t range[2]);

/* Items [first, first + n) of all; *vectors borrows the rows. */
struct nk_items cli_slice_items(const struct nk_items *items, size_t first, size_t n,
                                struct nk_vectors *vectors);

#endif
