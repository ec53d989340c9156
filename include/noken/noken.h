/* noken: analysis of token embeddings. This header includes all of the library's. */
#ifndef NOKEN_NOKEN_H
#define NOKEN_NOKEN_H

#include <noken/base.h>
#include <noken/forward.h>
#include <noken/geometry.h>
#include <noken/glitch.h>
#include <noken/model.h>
#include <noken/probe.h>
#include <noken/region.h>
#include <noken/sample.h>
#include <noken/tokenizer.h>
#include <noken/vectors.h>

#endif
