/* Kernels for decoding on CPUs: linear layers of few input rows in bfloat16, attention of few
   queries over a paged pool in bfloat16 or float.

   The loops are compiled once per instruction set (level.h); `agentrt_set_level` chooses among
   those the processor has. Pointers and strides come from Python, which has checked them; strides
   count elements. All sums are of type float. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* Keys that are scored before they are weighed. */
#define BLOCK 64
/* Keys whose sums are one partial result: always the same, so an answer depends on no other
   sequence of the batch and not on the threads. */
#define PART 512
/* Floats of a partial result before its sums: largest score, sum of the weights. */
#define HEADER 16

struct linear {
    const uint16_t *input; /* [inputs, size] */
    int64_t input_stride;
    const uint16_t *weights; /* [rows, size] */
    const uint16_t *bias;    /* [rows] or NULL */
    uint16_t *output;        /* [inputs, rows] */
    int64_t output_stride;
    int64_t inputs, rows, size;
    int64_t padded; /* size in whole units */
    float *wide;    /* the input as float in unit order, [inputs, padded] */
};

/* Which keys each query sees. */
struct batch {
    int64_t sequences, page_size;
    const int32_t *pages; /* key n of sequence b is in page pages[row b][n / page_size] */
    int64_t pages_stride;
    const int64_t *rows;    /* of `pages`, of each sequence; NULL: its number */
    const int32_t *lengths; /* keys */
    const int32_t *query_start;     /* NULL: one query each */
    const int32_t *query_positions; /* NULL: queries see all keys */
    const int32_t *key_positions;   /* ascending; NULL: key n has position n */
    int64_t key_positions_stride;
    int64_t most_queries; /* sequences with more are left out */
};

/* What adapters add to the values. */
struct low_rank {
    const char *pool; /* x*A, [pages, page size, rank] */
    int64_t pool_page, pool_slot;
    const int32_t *producers; /* [pages, page size] or NULL */
    int64_t producers_page;
    const char *up; /* B, [adapters, KV heads, rank, value size] */
    int64_t up_adapter, up_head, up_row;
    const int32_t *ranks, *adapters;
    int64_t rank; /* the widest */
};

struct shapes {
    int64_t bf16, heads, kv_heads, size, value_size;
    int64_t query_token, query_head;
    int64_t key_page, key_slot, key_head;
    int64_t value_page, value_slot, value_head;
    int64_t output_token, output_head;
};

struct attention {
    const void *query;
    int64_t bf16, width, heads, kv_heads, size, value_size;
    int64_t query_token, query_head;
    int64_t key_head, value_head; /* bytes */
    int64_t up_row;
    int64_t padded, value_padded, state_size;
    float scale;
    float *wide; /* the query as float in unit order, [queries, heads, padded] */
};

/* Rows of up to BLOCK keys, of their first KV head. Keys are completed to a multiple of four. */
struct block {
    int count;
    const char *keys[BLOCK], *values[BLOCK], *low_rank[BLOCK];
    int64_t rank;
    const struct block *next; /* is fetched meanwhile; the last one's is itself */
};

/* Some heads of one query, as float in unit order. */
struct query {
    const float *wide;
    int64_t stride;
};

struct level {
    int64_t unit_size, rows;
    void (*linear_inputs)(const struct linear *);
    void (*linear_rows)(const struct linear *, int64_t, int64_t);
    void (*attention_query)(const struct attention *, int64_t);
    void (*attend_block)(const struct attention *, const struct block *, int64_t, float *);
    void (*finish)(const struct attention *, float *, int64_t, int64_t, const char *, int64_t,
                   void *);
    void (*rms_norm)(const uint16_t *, uint16_t *, const uint16_t *, float, uint16_t *, int64_t,
                     float *);
    void (*silu_and_multiply)(const uint16_t *, uint16_t *, int64_t);
    void (*rotate)(uint16_t *, const uint16_t *, const uint16_t *, int64_t);
};

INLINE float from_bf16(uint16_t value) {
    const uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

INLINE uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (uint16_t)((value == value ? rounded : bits | 0x7fc00000) >> 16);
}

/* Asks for a row that will be read. */
INLINE void fetch(const char *row, int64_t size, int bf16) {
    const int64_t bytes = size * (bf16 ? 2 : 4);
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 2);
}

#define NAME(x) x##_portable
#define LANES 4
#define ROWS 4
#define INPUTS 2
#define HEADS 2
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
INLINE void sum4_portable(four a, four b, four c, four d, float *to) {
    to[0] = (a[0] + a[2]) + (a[1] + a[3]);
    to[1] = (b[0] + b[2]) + (b[1] + b[3]);
    to[2] = (c[0] + c[2]) + (c[1] + c[3]);
    to[3] = (d[0] + d[2]) + (d[1] + d[3]);
}
#include "level.h"

#if defined(__x86_64__)

#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define WITH(features) \
    PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_WITH PRAGMA(clang attribute pop)
#else
#define WITH(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define END_WITH PRAGMA(GCC pop_options)
#endif

WITH("avx2,fma")
#define NAME(x) x##_avx2
#define LANES 8
#define ROWS 4
#define INPUTS 2
#define HEADS 2
INLINE void sum4_avx2(__m256 a, __m256 b, __m256 c, __m256 d, float *to) {
    const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}
#include "level.h"
END_WITH

WITH("avx512f,avx512bw,avx512dq,avx512vl,fma")
#define NAME(x) x##_avx512
#define LANES 16
#define ROWS 8
#define INPUTS 4
#define HEADS 4
INLINE void sum4_avx512(__m512 a, __m512 b, __m512 c, __m512 d, float *to) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 all =
        _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 half =
        _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}
#include "level.h"
END_WITH

#endif

static const struct level *const levels[] = {
    &level_portable,
#if defined(__x86_64__)
    &level_avx2,
    &level_avx512,
#endif
};

static const struct level *level = &level_portable;

/* The last of portable, avx2, avx512 that this processor has. */
int agentrt_best_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return 1;
    return 2;
#else
    return 0;
#endif
}

/* Returns 0, or 1 where the processor has not got that level. */
int agentrt_set_level(int number) {
    if (number < 0 || number > agentrt_best_level()) return 1;
    level = levels[number];
    return 0;
}

static int64_t whole_units(int64_t size) {
    return (size + level->unit_size - 1) / level->unit_size * level->unit_size;
}

static float *new_floats(int64_t count) {
    return aligned_alloc(64, ((count ? count : 1) * sizeof(float) + 63) / 64 * 64);
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int linear(struct linear *call, int threads) {
    call->padded = whole_units(call->size);
    call->wide = new_floats(call->inputs * call->padded);
    if (!call->wide) return 1;
    level->linear_inputs(call);
    const int64_t blocks = (call->rows + level->rows - 1) / level->rows;
    const int64_t shares = smaller(threads, (blocks + 15) / 16);
    if (shares <= 1) {
        level->linear_rows(call, 0, call->rows);
    } else {
        /* The last share has at least the four rows that linear_rows needs: it has 15 blocks. */
#pragma omp parallel for num_threads(shares) schedule(static)
        for (int64_t share = 0; share < shares; share++)
            level->linear_rows(call, share * blocks / shares * level->rows,
                               smaller((share + 1) * blocks / shares * level->rows, call->rows));
    }
    free(call->wide);
    return 0;
}

/* output = input * weights^T + bias; at least four rows of weights. Returns 0, or 1: no memory. */
int agentrt_linear(const void *input, int64_t input_stride, const void *weights, const void *bias,
                   void *output, int64_t output_stride, int64_t inputs, int64_t rows, int64_t size,
                   int threads) {
    struct linear call = {
        .input = input,
        .input_stride = input_stride,
        .weights = weights,
        .bias = bias,
        .output = output,
        .output_stride = output_stride,
        .inputs = inputs,
        .rows = rows,
        .size = size,
    };
    return linear(&call, threads);
}

/* ---- Attention */

struct part {
    int64_t sequence, first, end; /* keys */
    float *states;                /* [queries, heads, state size] */
};

struct pools {
    const char *keys, *values;
    int64_t key_page, key_slot, value_page, value_slot; /* bytes */
    const char *zeros;                                  /* a row of the low-rank pool */
};

static int64_t first_query(const struct batch *batch, int64_t sequence) {
    return batch->query_start ? batch->query_start[sequence] : sequence;
}

static int64_t queries_of(const struct batch *batch, int64_t sequence) {
    const int64_t count = first_query(batch, sequence + 1) - first_query(batch, sequence);
    return count <= batch->most_queries ? count : 0;
}

/* How many keys of its sequence a query sees: the first ones. */
static int64_t seen_by(const struct batch *batch, int64_t sequence, int64_t query) {
    const int64_t length = batch->lengths[sequence];
    if (!batch->query_positions) return length;
    const int64_t position = batch->query_positions[query];
    if (!batch->key_positions) return smaller(length, position + 1);
    const int32_t *positions = batch->key_positions + sequence * batch->key_positions_stride;
    int64_t low = 0, high = length;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (positions[middle] <= position) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void find_rows(const struct batch *batch, const struct pools *pools,
                      const struct low_rank *low_rank, int64_t width, const struct part *part,
                      int64_t first, struct block *block) {
    block->count = (int)smaller(BLOCK, part->end - first);
    const int64_t row = batch->rows ? batch->rows[part->sequence] : part->sequence;
    const int32_t *pages = batch->pages + row * batch->pages_stride;
    const int adapter = block->rank ? low_rank->adapters[part->sequence] : -1;
    for (int key = 0; key < block->count; key++) {
        const int64_t number = first + key;
        const int64_t in_page = batch->page_size == 1 ? 0 : number % batch->page_size;
        const int64_t page = pages[batch->page_size == 1 ? number : number / batch->page_size];
        block->keys[key] = pools->keys + page * pools->key_page + in_page * pools->key_slot;
        block->values[key] = pools->values + page * pools->value_page + in_page * pools->value_slot;
        if (!block->rank) continue;
        const int foreign =
            low_rank->producers &&
            low_rank->producers[page * low_rank->producers_page + in_page] != adapter;
        block->low_rank[key] =
            foreign ? pools->zeros
                    : low_rank->pool +
                          (page * low_rank->pool_page + in_page * low_rank->pool_slot) * width;
    }
    for (int key = block->count; key < BLOCK; key++) {
        block->keys[key] = block->keys[block->count - 1];
        block->values[key] = block->values[block->count - 1];
        block->low_rank[key] = block->low_rank[block->count - 1];
    }
}

static void attend_part(const struct attention *call, const struct batch *batch,
                        const struct pools *pools, const struct low_rank *low_rank,
                        const struct part *part) {
    const int64_t first = first_query(batch, part->sequence);
    const int64_t queries = queries_of(batch, part->sequence);
    struct block blocks[2] = {{.next = blocks + 1}, {.next = blocks}};
    if (low_rank && low_rank->adapters[part->sequence] >= 0)
        blocks[0].rank = blocks[1].rank = low_rank->ranks[low_rank->adapters[part->sequence]];
    memset(part->states, 0, queries * call->heads * call->state_size * sizeof(float));
    for (int64_t row = 0; row < queries * call->heads; row++)
        part->states[row * call->state_size] = -INFINITY;
    if (part->first < part->end)
        find_rows(batch, pools, low_rank, call->width, part, part->first, blocks);
    struct block *block = blocks, *other = blocks + 1;
    for (int64_t key = part->first; key < part->end; key += BLOCK) {
        if (key + BLOCK < part->end)
            find_rows(batch, pools, low_rank, call->width, part, key + BLOCK, other);
        else
            block->next = block;
        const int count = block->count;
        for (int64_t query = 0; query < queries; query++) {
            const int64_t seen = seen_by(batch, part->sequence, first + query) - key;
            if (seen <= 0) continue;
            block->count = (int)smaller(count, seen);
            level->attend_block(call, block, first + query,
                                part->states + query * call->heads * call->state_size);
        }
        struct block *done = block;
        block = other;
        other = done;
    }
}

static void finish_sequence(const struct attention *call, const struct batch *batch,
                            const struct low_rank *low_rank, const struct shapes *shapes,
                            const struct part *parts, int64_t count, char *output) {
    const int64_t sequence = parts->sequence, first = first_query(batch, sequence);
    const int64_t queries = queries_of(batch, sequence), group = call->heads / call->kv_heads;
    const int adapter = low_rank ? low_rank->adapters[sequence] : -1;
    for (int64_t query = 0; query < queries; query++)
        for (int64_t head = 0; head < call->heads; head++) {
            const char *up = NULL;
            if (adapter >= 0)
                up = low_rank->up + (adapter * low_rank->up_adapter +
                                     head / group * low_rank->up_head) * call->width;
            level->finish(call, parts->states + (query * call->heads + head) * call->state_size,
                          count, queries * call->heads * call->state_size, up,
                          adapter >= 0 ? low_rank->ranks[adapter] : 0,
                          output + ((first + query) * shapes->output_token +
                                    head * shapes->output_head) * call->width);
        }
}

/* Sequences with more than `most_queries` queries are left alone. Returns 0, or 1: no memory. */
int agentrt_attention(const struct batch *batch, const struct shapes *shapes,
                      const struct low_rank *low_rank, const void *query, const void *keys,
                      const void *values, void *output, float scale, int threads) {
    const int64_t width = shapes->bf16 ? sizeof(uint16_t) : sizeof(float);
    const int64_t rank = low_rank ? whole_units(low_rank->rank) : 0;
    struct attention call = {
        .query = query,
        .bf16 = shapes->bf16,
        .width = width,
        .heads = shapes->heads,
        .kv_heads = shapes->kv_heads,
        .size = shapes->size,
        .value_size = shapes->value_size,
        .query_token = shapes->query_token,
        .query_head = shapes->query_head,
        .key_head = shapes->key_head * width,
        .value_head = shapes->value_head * width,
        .up_row = low_rank ? low_rank->up_row : 0,
        .padded = whole_units(shapes->size),
        .value_padded = whole_units(shapes->value_size),
        .state_size = HEADER + whole_units(shapes->value_size) + rank,
        .scale = scale,
    };
    struct pools pools = {
        .keys = keys,
        .values = values,
        .key_page = shapes->key_page * width,
        .key_slot = shapes->key_slot * width,
        .value_page = shapes->value_page * width,
        .value_slot = shapes->value_slot * width,
    };
    int64_t count = 0, state_rows = 0, keys_in_all = 0;
    for (int64_t sequence = 0; sequence < batch->sequences; sequence++) {
        const int64_t parts = batch->lengths[sequence] ? (batch->lengths[sequence] + PART - 1) / PART : 1;
        if (!queries_of(batch, sequence)) continue;
        count += parts;
        state_rows += parts * queries_of(batch, sequence) * call.heads;
        keys_in_all += batch->lengths[sequence];
    }
    const int64_t queries = first_query(batch, batch->sequences);
    struct part *parts = malloc((count + 1) * sizeof *parts);
    float *scratch = new_floats(rank + queries * call.heads * call.padded + state_rows * call.state_size);
    if (!parts || !scratch) {
        free(parts);
        free(scratch);
        return 1;
    }
    memset(scratch, 0, rank * sizeof(float));
    pools.zeros = (const char *)scratch;
    call.wide = scratch + rank;
    float *states = call.wide + queries * call.heads * call.padded;
    int64_t at = 0;
    for (int64_t sequence = 0; sequence < batch->sequences; sequence++) {
        const int64_t own = queries_of(batch, sequence), length = batch->lengths[sequence];
        if (!own) continue;
        for (int64_t q = 0; q < own; q++) level->attention_query(&call, first_query(batch, sequence) + q);
        int64_t first = 0;
        do {
            parts[at++] = (struct part){sequence, first, smaller(first + PART, length), states};
            states += own * call.heads * call.state_size;
            first += PART;
        } while (first < length);
    }
    parts[count].sequence = -1;
    if (threads > 1 && keys_in_all > PART) {
#pragma omp parallel for num_threads(threads) schedule(dynamic)
        for (int64_t part = 0; part < count; part++)
            attend_part(&call, batch, &pools, low_rank, parts + part);
    } else {
        for (int64_t part = 0; part < count; part++)
            attend_part(&call, batch, &pools, low_rank, parts + part);
    }
    for (int64_t part = 0, end; part < count; part = end) {
        for (end = part + 1; parts[end].sequence == parts[part].sequence;) end++;
        finish_sequence(&call, batch, low_rank, shapes, parts + part, end - part, output);
    }
    free(parts);
    free(scratch);
    return 0;
}

/* ---- A decoding step of a model of the Llama family, in bfloat16 */

struct llama_layer {
    const uint16_t *input_norm, *qkv, *qkv_bias, *output, *post_norm, *gate_up, *down;
    uint16_t *keys, *values;
};

struct llama {
    const struct llama_layer *layers;
    const uint16_t *final_norm;
    const uint16_t *rotations; /* cosines and sines of each position, [positions, head size] */
    struct shapes shapes;      /* of the attention; its query stands in front of K and V */
    int64_t count, hidden, intermediate;
    float epsilon, scale;
};

static void norm(const struct llama *model, const uint16_t *input, uint16_t *stream,
                 const uint16_t *weight, uint16_t *output, int64_t tokens, float *sums) {
    const int64_t size = model->hidden;
    for (int64_t at = 0; at < tokens * size; at += size)
        level->rms_norm(input ? input + at : stream + at, input ? stream + at : NULL, weight,
                        model->epsilon, output + at, size, sums);
}

static int project(const uint16_t *input, int64_t size, const uint16_t *weights,
                   const uint16_t *bias, int64_t rows, uint16_t *output, int64_t tokens,
                   int threads) {
    return agentrt_linear(input, size, weights, bias, output, rows, tokens, rows, size, threads);
}

/* Rotates queries and keys, and writes keys and values where the pool has room for them. */
static void rotate_and_store(const struct llama *model, const struct llama_layer *layer,
                             const int64_t *positions, const int64_t *slots, uint16_t *qkv,
                             int64_t tokens) {
    const struct shapes *shapes = &model->shapes;
    const int64_t size = shapes->size, half = size / 2;
    for (int64_t token = 0; token < tokens; token++) {
        uint16_t *query = qkv + token * shapes->query_token, *key = query + shapes->heads * size;
        const uint16_t *value = key + shapes->kv_heads * size;
        const uint16_t *cosines = model->rotations + positions[token] * size;
        for (int64_t head = 0; head < shapes->heads + shapes->kv_heads; head++)
            level->rotate(query + head * size, cosines, cosines + half, half);
        for (int64_t head = 0; head < shapes->kv_heads; head++) {
            memcpy(layer->keys + slots[token] * shapes->key_page + head * shapes->key_head,
                   key + head * size, size * sizeof *key);
            memcpy(layer->values + slots[token] * shapes->value_page + head * shapes->value_head,
                   value + head * size, size * sizeof *value);
        }
    }
}

/* `stream`: the embeddings of one token of each sequence, overwritten; `output`: the last norm, both
   [sequences, hidden]. `slots`: where the pool takes their keys. Returns 0, or 1: no memory. */
int agentrt_llama_decode(const struct llama *model, const struct batch *batch,
                         const int64_t *positions, const int64_t *slots, uint16_t *stream,
                         uint16_t *output, int threads) {
    const struct shapes *shapes = &model->shapes;
    const int64_t tokens = batch->sequences, hidden = model->hidden, wide = model->intermediate;
    const int64_t queries = shapes->heads * shapes->size, all = shapes->query_token;
    const int64_t most = all > 2 * wide ? all : 2 * wide, fewest = queries > wide ? queries : wide;
    const int64_t padded = whole_units(hidden);
    float *sums = new_floats(padded + (tokens * (2 * hidden + most + fewest) + 1) / 2);
    if (!sums) return 1;
    uint16_t *normed = (uint16_t *)(sums + padded), *added = normed + tokens * hidden;
    uint16_t *first = added + tokens * hidden, *second = first + tokens * most;
    int failed = 0;
    for (int64_t number = 0; number < model->count && !failed; number++) {
        const struct llama_layer *layer = model->layers + number;
        norm(model, number ? added : NULL, stream, layer->input_norm, normed, tokens, sums);
        failed |= project(normed, hidden, layer->qkv, layer->qkv_bias, all, first, tokens, threads);
        rotate_and_store(model, layer, positions, slots, first, tokens);
        failed |= agentrt_attention(batch, shapes, NULL, first, layer->keys, layer->values, second,
                                    model->scale, threads);
        failed |= project(second, queries, layer->output, NULL, hidden, added, tokens, threads);
        norm(model, added, stream, layer->post_norm, normed, tokens, sums);
        failed |= project(normed, hidden, layer->gate_up, NULL, 2 * wide, first, tokens, threads);
        for (int64_t token = 0; token < tokens; token++)
            level->silu_and_multiply(first + token * 2 * wide, second + token * wide, wide);
        failed |= project(second, wide, layer->down, NULL, hidden, added, tokens, threads);
    }
    norm(model, added, stream, model->final_norm, output, tokens, sums);
    free(sums);
    return failed;
}
