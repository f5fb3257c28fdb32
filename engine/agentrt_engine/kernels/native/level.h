/* The inner loops, once per instruction set: kernels.c includes this file with

   NAME(x)   x with the suffix of the instruction set,
   LANES     floats of a vector,
   ROWS      rows of weights that are multiplied at once with one row of the input,
   INPUTS    rows of the input that are multiplied at once with four rows of weights,
   HEADS     query heads that are computed at once,

   and with the function NAME(sum4)(a, b, c, d, to): the sums of four vectors.

   A *unit* is 2 * LANES elements of a row. bfloat16 is widened without shuffles: the lower and the
   upper halves of 32-bit words become two vectors, so inside a unit the elements stand in the
   order 0, 2, 4, ... 1, 3, 5, ... ("unit order"). Inputs and accumulators are kept in that order
   too. float stays as it is. The last unit of a row is completed with zeros. */

#define UNIT (2 * LANES)

typedef float NAME(floats) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t NAME(words) __attribute__((vector_size(4 * LANES), aligned(2), may_alias));
typedef int32_t NAME(integers) __attribute__((vector_size(4 * LANES)));

typedef struct {
    NAME(floats) first, second;
} NAME(unit);

#define floats NAME(floats)
#define words NAME(words)
#define integers NAME(integers)
#define unit NAME(unit)

INLINE unit NAME(widen)(words both) {
    return (unit){(floats)(both << 16), (floats)(both & 0xffff0000u)};
}

INLINE words NAME(choose)(integers which, words yes, words no) {
    return ((words)which & yes) | (~(words)which & no);
}

/* bfloat16 in the upper half of each word. */
INLINE words NAME(rounded)(floats value) {
    const words bits = (words)value;
    const words up = bits + 0x7fff + ((bits >> 16) & 1);
    return NAME(choose)(value == value, up, bits | 0x7fc00000u);
}

/* A whole unit of a row. */
INLINE unit NAME(load)(const void *row, int bf16, int64_t at) {
    if (bf16) return NAME(widen)(*(const words *)((const uint16_t *)row + at));
    const float *from = (const float *)row + at;
    return (unit){*(const floats *)from, *(const floats *)(from + LANES)};
}

/* The last unit of a row that ends within it. */
INLINE unit NAME(load_last)(const void *row, int bf16, int64_t at, int64_t size) {
    const int64_t width = bf16 ? sizeof(uint16_t) : sizeof(float);
    float whole[UNIT] = {0};
    memcpy(whole, (const char *)row + at * width, (size - at) * width);
    return NAME(load)(whole, bf16, 0);
}

INLINE unit NAME(load_any)(const void *row, int bf16, int64_t at, int64_t size) {
    return at + UNIT <= size ? NAME(load)(row, bf16, at) : NAME(load_last)(row, bf16, at, size);
}

INLINE void NAME(store)(void *row, int bf16, int64_t at, int64_t size, unit value) {
    const int64_t count = size - at < UNIT ? size - at : UNIT;
    if (bf16) {
        const words both =
            (NAME(rounded)(value.first) >> 16) | (NAME(rounded)(value.second) & 0xffff0000u);
        memcpy((uint16_t *)row + at, &both, count * sizeof(uint16_t));
    } else {
        memcpy((float *)row + at, &value, count * sizeof(float));
    }
}

INLINE unit NAME(get)(const float *from) {
    return (unit){*(const floats *)from, *(const floats *)(from + LANES)};
}

INLINE void NAME(put)(float *to, unit value) {
    *(floats *)to = value.first;
    *(floats *)(to + LANES) = value.second;
}

/* A row as float in unit order. */
static void NAME(spread)(const void *row, int bf16, int64_t size, float *to) {
    for (int64_t at = 0; at < size; at += UNIT) NAME(put)(to + at, NAME(load_any)(row, bf16, at, size));
}

/* e^x for x <= 0, to float's precision: 2^n * e^r with |r| <= ln(2) / 2 (Cephes). */
INLINE floats NAME(exponential)(floats x) {
    const floats least = (floats){0} - 87.0f;
    x = (floats)NAME(choose)(x > least, (words)x, (words)least);
    const integers n = __builtin_convertvector(x * 1.44269504f - 0.5f, integers);
    const floats whole = __builtin_convertvector(n, floats);
    const floats r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return p * (floats)((n + 127) << 23);
}

/* ---- Linear layers */

INLINE void NAME(tile)(const int rows, const int inputs, const struct linear *call, int64_t row,
                       int64_t in) {
    floats sums[ROWS > 4 ? ROWS : 4][INPUTS];
    const int64_t size = call->size, whole = size / UNIT * UNIT;
    const uint16_t *weights = call->weights + row * size;
    const float *wide = call->wide + in * call->padded;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int i = 0; i < inputs; i++) sums[r][i] = (floats){0};
    int64_t at = 0;
    for (; at < whole; at += UNIT)
        UNROLL for (int r = 0; r < rows; r++) {
            __builtin_prefetch(weights + (r + 2 * rows) * size + at, 0, 2);
            const unit own = NAME(widen)(*(const words *)(weights + r * size + at));
            UNROLL for (int i = 0; i < inputs; i++) {
                const unit other = NAME(get)(wide + i * call->padded + at);
                sums[r][i] += own.first * other.first;
                sums[r][i] += own.second * other.second;
            }
        }
    if (at < size)
        UNROLL for (int r = 0; r < rows; r++) {
            const unit own = NAME(load_last)(weights + r * size, 1, at, size);
            UNROLL for (int i = 0; i < inputs; i++) {
                const unit other = NAME(get)(wide + i * call->padded + at);
                sums[r][i] += own.first * other.first;
                sums[r][i] += own.second * other.second;
            }
        }
    UNROLL for (int i = 0; i < inputs; i++)
        UNROLL for (int r = 0; r < rows; r += 4) {
            float found[4];
            uint16_t narrow[4];
            NAME(sum4)(sums[r][i], sums[r + 1][i], sums[r + 2][i], sums[r + 3][i], found);
            if (call->bias)
                for (int k = 0; k < 4; k++) found[k] += from_bf16(call->bias[row + r + k]);
            for (int k = 0; k < 4; k++) narrow[k] = to_bf16(found[k]);
            memcpy(call->output + (in + i) * call->output_stride + row + r, narrow, sizeof narrow);
        }
}

/* Rows `first` to `end` of the weights, at least four. Whatever is computed beside it, an output is
   summed in one order: answers depend neither on the batch nor on the threads. */
static void NAME(linear_rows)(const struct linear *call, int64_t first, int64_t end) {
    for (int64_t row = first; row < end;) {
        if (call->inputs == 1 && row + ROWS <= end) {
            NAME(tile)(ROWS, 1, call, row, 0);
            row += ROWS;
            continue;
        }
        row = row + 4 <= end ? row : end - 4; /* the last rows may be computed twice */
        int64_t in = 0;
        for (; in + INPUTS <= call->inputs; in += INPUTS) NAME(tile)(4, INPUTS, call, row, in);
        for (; in < call->inputs; in++) NAME(tile)(4, 1, call, row, in);
        row += 4;
    }
}

static void NAME(linear_inputs)(const struct linear *call) {
    for (int64_t in = 0; in < call->inputs; in++)
        NAME(spread)(call->input + in * call->input_stride, 1, call->size,
                     call->wide + in * call->padded);
}

/* ---- Attention */

/* One unit of the products of four keys and `heads` query heads. */
INLINE void NAME(multiply)(const int heads, const int bf16, const int last, const char *const *keys,
                           int64_t offset, const struct query *query, int64_t at, int64_t size,
                           floats sums[HEADS][4]) {
    UNROLL for (int k = 0; k < 4; k++) {
        const char *key = keys[k] + offset;
        const unit own =
            last ? NAME(load_last)(key, bf16, at, size) : NAME(load)(key, bf16, at);
        UNROLL for (int head = 0; head < heads; head++) {
            const unit other = NAME(get)(query->wide + head * query->stride + at);
            sums[head][k] += own.first * other.first;
            sums[head][k] += own.second * other.second;
        }
    }
}

/* Scores of the keys of a block for `heads` query heads, before they are scaled. */
INLINE void NAME(score)(const int heads, const int bf16, const struct block *block, int64_t offset,
                        const struct query *query, int64_t size, float *scores) {
    for (int key = 0; key < block->count; key += 4) {
        const char *const *keys = block->keys + key;
        floats sums[HEADS][4];
        UNROLL for (int head = 0; head < heads; head++)
            UNROLL for (int k = 0; k < 4; k++) sums[head][k] = (floats){0};
        UNROLL for (int k = 0; k < 4; k++)
            fetch(block->next->keys[key + k] + offset, size, bf16);
        int64_t at = 0;
        for (; at + UNIT <= size; at += UNIT)
            NAME(multiply)(heads, bf16, 0, keys, offset, query, at, size, sums);
        if (at < size) NAME(multiply)(heads, bf16, 1, keys, offset, query, at, size, sums);
        UNROLL for (int head = 0; head < heads; head++)
            NAME(sum4)(sums[head][0], sums[head][1], sums[head][2], sums[head][3],
                       scores + head * BLOCK + key);
    }
}

/* Adds one unit of weights times rows to what `heads` query heads have summed up. */
INLINE void NAME(add_unit)(const int heads, const int bf16, const int last, const char *const *rows,
                           const char *const *next, int64_t offset, int count, const float *weights, int64_t at,
                           int64_t size, float *sums, int64_t stride) {
    unit own[HEADS];
    UNROLL for (int head = 0; head < heads; head++)
        own[head] = NAME(get)(sums + head * stride + at);
    for (int n = 0; n < count; n++) {
        const char *row = rows[n] + offset;
        if (at == 0) fetch(next[n] + offset, size, bf16);
        const unit value =
            last ? NAME(load_last)(row, bf16, at, size) : NAME(load)(row, bf16, at);
        UNROLL for (int head = 0; head < heads; head++) {
            own[head].first += value.first * weights[head * BLOCK + n];
            own[head].second += value.second * weights[head * BLOCK + n];
        }
    }
    UNROLL for (int head = 0; head < heads; head++)
        NAME(put)(sums + head * stride + at, own[head]);
}

INLINE void NAME(add)(const int heads, const int bf16, const char *const *rows,
                      const char *const *next, int64_t offset, int count, const float *weights, int64_t size, float *sums, int64_t stride) {
    int64_t at = 0;
    for (; at + UNIT <= size; at += UNIT)
        NAME(add_unit)(heads, bf16, 0, rows, next, offset, count, weights, at, size, sums, stride);
    if (at < size)
        NAME(add_unit)(heads, bf16, 1, rows, next, offset, count, weights, at, size, sums, stride);
}

/* Turns scores into weights relative to the largest score so far, and scales what was summed up
   before to it. `state`: largest score, sum of the weights, then the sums from HEADER on. */
INLINE void NAME(weigh)(float *scores, int count, float scale, float *state, int64_t length) {
    floats most = (floats){0} - INFINITY, total = {0};
    for (int key = count; key % LANES; key++) scores[key] = -INFINITY;
    for (int key = 0; key < count; key += LANES) {
        const floats own = *(const floats *)(scores + key) * scale;
        *(floats *)(scores + key) = own;
        most = (floats)NAME(choose)(own > most, (words)own, (words)most);
    }
    float largest = state[0];
    for (int lane = 0; lane < LANES; lane++) largest = most[lane] > largest ? most[lane] : largest;
    if (largest > state[0]) {
        const float factor = NAME(exponential)((floats){0} + (state[0] - largest))[0];
        state[1] *= factor;
        for (int64_t at = HEADER; at < length; at += LANES) *(floats *)(state + at) *= factor;
    }
    state[0] = largest;
    for (int key = 0; key < count; key += LANES) {
        const floats own = *(const floats *)(scores + key);
        const words weight = (words)NAME(exponential)(own - largest);
        const floats seen = (floats)(weight & (words)(own > (floats){0} - INFINITY));
        *(floats *)(scores + key) = seen;
        total += seen;
    }
    float sums[4];
    NAME(sum4)(total, total, total, total, sums);
    state[1] += sums[0];
}

/* One block of keys, one query, `heads` query heads of one KV head. */
INLINE void NAME(attend_heads)(const int heads, const int bf16, const struct attention *call,
                               const struct block *block, int64_t kv_head,
                               const struct query *query, float *state) {
    float scores[HEADS * BLOCK] __attribute__((aligned(64)));
    const int64_t length = call->state_size;
    NAME(score)(heads, bf16, block, kv_head * call->key_head, query, call->size, scores);
    for (int head = 0; head < heads; head++)
        NAME(weigh)(scores + head * BLOCK, block->count, call->scale, state + head * length,
                    length);
    NAME(add)(heads, bf16, block->values, block->next->values, kv_head * call->value_head, block->count, scores,
              call->value_size, state + HEADER, length);
    if (block->rank)
        NAME(add)(heads, bf16, block->low_rank, block->next->low_rank, 0, block->count, scores, block->rank,
                  state + HEADER + call->value_padded, length);
}

/* The same for all query heads of all KV heads. */
INLINE void NAME(attend)(const int bf16, const struct attention *call, const struct block *block,
                         int64_t query, float *states) {
    const int64_t group = call->heads / call->kv_heads;
    for (int64_t kv_head = 0; kv_head < call->kv_heads; kv_head++)
        for (int64_t part = 0; part < group; part += HEADS) {
            const int64_t head = kv_head * group + part;
            const struct query own = {
                .wide = call->wide + (query * call->heads + head) * call->padded,
                .stride = call->padded,
            };
            float *state = states + head * call->state_size;
            switch (group - part < HEADS ? group - part : HEADS) {
                case 1: NAME(attend_heads)(1, bf16, call, block, kv_head, &own, state); break;
                case 2: NAME(attend_heads)(2, bf16, call, block, kv_head, &own, state); break;
#if HEADS > 2
                case 3: NAME(attend_heads)(3, bf16, call, block, kv_head, &own, state); break;
                case 4: NAME(attend_heads)(4, bf16, call, block, kv_head, &own, state); break;
#endif
            }
        }
}

static void NAME(attend_block)(const struct attention *call, const struct block *block,
                               int64_t query, float *states) {
    if (call->bf16) NAME(attend)(1, call, block, query, states);
    else NAME(attend)(0, call, block, query, states);
}

static void NAME(attention_query)(const struct attention *call, int64_t query) {
    for (int64_t head = 0; head < call->heads; head++)
        NAME(spread)((const char *)call->query +
                         (query * call->query_token + head * call->query_head) * call->width,
                     call->bf16, call->size,
                     call->wide + (query * call->heads + head) * call->padded);
}

/* Writes the output of one query head from what its parts of the keys have summed up: `states`,
   `parts` of them, `stride` apart. Overwrites the first. `up` is B of its adapter and KV head. */
static void NAME(finish)(const struct attention *call, float *states, int64_t parts, int64_t stride,
                         const char *up, int64_t rank, void *output) {
    float largest = -INFINITY, total = 0.0f;
    for (int64_t part = 0; part < parts; part++)
        if (states[part * stride] > largest) largest = states[part * stride];
    for (int64_t part = 0; part < parts; part++) {
        const float *state = states + part * stride;
        if (!(state[1] > 0.0f)) continue;
        const float factor = NAME(exponential)((floats){0} + (state[0] - largest))[0];
        total += factor * state[1];
        for (int64_t at = HEADER; at < call->state_size; at += LANES) {
            const floats before = part ? *(floats *)(states + at) : (floats){0};
            *(floats *)(states + at) = before + *(const floats *)(state + at) * factor;
        }
    }
    const float scale = total > 0.0f ? 1.0f / total : 0.0f;
    const float *weights = states + HEADER + call->value_padded;
    for (int64_t at = 0; at < call->value_size; at += UNIT) {
        unit sum = NAME(get)(states + HEADER + at);
        for (int64_t row = 0; row < rank; row++) {
            const int64_t place =
                call->bf16 ? row / UNIT * UNIT + row % 2 * LANES + row % UNIT / 2 : row;
            const unit own = NAME(load_any)(up + row * call->up_row * call->width, call->bf16, at,
                                        call->value_size);
            sum.first += own.first * weights[place];
            sum.second += own.second * weights[place];
        }
        sum.first *= scale;
        sum.second *= scale;
        NAME(store)(output, call->bf16, at, call->value_size, sum);
    }
}

/* ---- Small operators between the linear layers, all of them in bfloat16 */

/* residual += input, output = residual / rms(residual) * weight; without a residual the input. */
static void NAME(rms_norm)(const uint16_t *input, uint16_t *residual, const uint16_t *weight,
                           float epsilon, uint16_t *output, int64_t size, float *sums) {
    floats squares = {0};
    for (int64_t at = 0; at < size; at += UNIT) {
        unit own = NAME(load_any)(input, 1, at, size);
        if (residual) {
            const unit before = NAME(load_any)(residual, 1, at, size);
            own.first += before.first;
            own.second += before.second;
            NAME(store)(residual, 1, at, size, own);
        }
        squares += own.first * own.first + own.second * own.second;
        NAME(put)(sums + at, own);
    }
    float total = 0.0f;
    for (int lane = 0; lane < LANES; lane++) total += squares[lane];
    const float factor = 1.0f / sqrtf(total / (float)size + epsilon);
    for (int64_t at = 0; at < size; at += UNIT) {
        unit own = NAME(get)(sums + at);
        const unit scale = NAME(load_any)(weight, 1, at, size);
        own.first = own.first * factor * scale.first;
        own.second = own.second * factor * scale.second;
        NAME(store)(output, 1, at, size, own);
    }
}

INLINE floats NAME(silu)(floats x) {
    const floats one = (floats){0} + 1.0f;
    const floats small = NAME(exponential)((floats)((words)x | 0x80000000u));
    return x * (floats)NAME(choose)(x < 0.0f, (words)small, (words)one) / (one + small);
}

/* x / (1 + e^-x) of the first half times the second half. */
static void NAME(silu_and_multiply)(const uint16_t *input, uint16_t *output, int64_t size) {
    for (int64_t at = 0; at < size; at += UNIT) {
        const unit gate = NAME(load_any)(input, 1, at, size);
        const unit up = NAME(load_any)(input + size, 1, at, size);
        const unit both = {NAME(silu)(gate.first) * up.first, NAME(silu)(gate.second) * up.second};
        NAME(store)(output, 1, at, size, both);
    }
}

/* Rotates the pairs (i, i + half) of a head, in place. */
static void NAME(rotate)(uint16_t *head, const uint16_t *cosines, const uint16_t *sines,
                         int64_t half) {
    for (int64_t at = 0; at < half; at += UNIT) {
        const unit x = NAME(load_any)(head, 1, at, half), y = NAME(load_any)(head + half, 1, at, half);
        const unit c = NAME(load_any)(cosines, 1, at, half), s = NAME(load_any)(sines, 1, at, half);
        const unit turned_x = {x.first * c.first - y.first * s.first,
                               x.second * c.second - y.second * s.second};
        const unit turned_y = {y.first * c.first + x.first * s.first,
                               y.second * c.second + x.second * s.second};
        NAME(store)(head, 1, at, half, turned_x);
        NAME(store)(head + half, 1, at, half, turned_y);
    }
}

static const struct level NAME(level) = {
    .unit_size = UNIT,
    .rows = ROWS,
    .linear_inputs = NAME(linear_inputs),
    .linear_rows = NAME(linear_rows),
    .attention_query = NAME(attention_query),
    .attend_block = NAME(attend_block),
    .finish = NAME(finish),
    .rms_norm = NAME(rms_norm),
    .silu_and_multiply = NAME(silu_and_multiply),
    .rotate = NAME(rotate),
};

#undef floats
#undef words
#undef integers
#undef unit
#undef UNIT
#undef NAME
#undef LANES
#undef ROWS
#undef INPUTS
#undef HEADS
