// The element-wise parts of training in bfloat16, each one pass over memory; train.py compiles and calls
// them. Matrices are row-major; bf16 values are the upper halves of floats, rounded to nearest even.
#include <math.h>
#include <stddef.h>
#include <stdint.h>

typedef uint16_t bf16;

static inline float up(bf16 v) {
  union {
    uint32_t u;
    float f;
  } x = {(uint32_t)v << 16};
  return x.f;
}

static inline bf16 down(float f) {
  union {
    float f;
    uint32_t u;
  } x = {f};
  return (bf16)((x.u + 0x7fff + ((x.u >> 16) & 1)) >> 16);
}

// y = x * r * w with r = 1/sqrt(mean(x^2) + eps), row by row; r is kept for the backward pass.
void rms_forward(const bf16* x, const bf16* w, bf16* y, float* r, long rows, long n, float eps) {
  for (long i = 0; i < rows; i++, x += n, y += n) {
    float sum = 0;
    for (long j = 0; j < n; j++) sum += up(x[j]) * up(x[j]);
    float s = r[i] = 1.0f / sqrtf(sum / n + eps);
    for (long j = 0; j < n; j++) y[j] = down(up(x[j]) * s * up(w[j]));
  }
}

void rms_backward(const bf16* x, const bf16* w, const float* r, const bf16* g, bf16* gx, float* gw, long rows,
                  long n) {
  for (long i = 0; i < rows; i++, x += n, g += n, gx += n) {
    float s = r[i], dot = 0;
    for (long j = 0; j < n; j++) {
      float xn = up(x[j]) * s;
      gw[j] += up(g[j]) * xn;
      dot += up(g[j]) * up(w[j]) * xn;
    }
    dot /= n;
    for (long j = 0; j < n; j++) gx[j] = down(s * (up(g[j]) * up(w[j]) - up(x[j]) * s * dot));
  }
}

// rows of [gate | up] -> silu(gate) * up
void swiglu_forward(const bf16* gu, bf16* y, long rows, long n) {
  for (long i = 0; i < rows; i++, gu += 2 * n, y += n)
    for (long j = 0; j < n; j++) {
      float a = up(gu[j]);
      y[j] = down(a / (1.0f + expf(-a)) * up(gu[n + j]));
    }
}

void swiglu_backward(const bf16* gu, const bf16* g, bf16* out, long rows, long n) {
  for (long i = 0; i < rows; i++, gu += 2 * n, out += 2 * n, g += n)
    for (long j = 0; j < n; j++) {
      float a = up(gu[j]), b = up(gu[n + j]), d = up(g[j]);
      float s = 1.0f / (1.0f + expf(-a));
      out[j] = down(d * b * s * (1.0f + a * (1.0f - s)));
      out[n + j] = down(d * a * s);
    }
}

// Rotates one head by its position (half-split pairs); sign -1 rotates back.
static void rotate(const bf16* x, bf16* y, const float* c, const float* s, long half, float sign,
                   float scale) {
  for (long j = 0; j < half; j++) {
    float a = up(x[j]), b = up(x[half + j]), sn = sign * s[j];
    y[j] = down((a * c[j] - b * sn) * scale);
    y[half + j] = down((b * c[j] + a * sn) * scale);
  }
}

// qkv[b][t][heads + 2 kv][d] -> q[b][kv][t][rep][d] (rotated, scaled), k[b][kv][t][d] (rotated),
// v[b][kv][t][d]; back = 1 maps the three gradients to that of qkv.
void rope_split(bf16* qkv, bf16* q, bf16* k, bf16* v, const float* cs, const float* sn, long batch, long time,
                long kv, long rep, long d, float scale, int back) {
  long heads = kv * rep, half = d / 2;
  for (long b = 0; b < batch; b++)
    for (long t = 0; t < time; t++) {
      bf16* row = qkv + (b * time + t) * (heads + 2 * kv) * d;
      const float *c = cs + t * half, *s = sn + t * half;
      for (long h = 0; h < kv; h++) {
        long at = (b * kv + h) * time + t;
        for (long r = 0; r < rep; r++) {
          bf16 *whole = row + (h * rep + r) * d, *part = q + (at * rep + r) * d;
          rotate(back ? part : whole, back ? whole : part, c, s, half, back ? -1.0f : 1.0f, scale);
        }
        bf16 *kw = row + (heads + h) * d, *kp = k + at * d, *vw = kw + kv * d, *vp = v + at * d;
        rotate(back ? kp : kw, back ? kw : kp, c, s, half, back ? -1.0f : 1.0f, 1.0f);
        for (long j = 0; j < d; j++) *(back ? vw + j : vp + j) = back ? vp[j] : vw[j];
      }
    }
}

// In-place causal softmax of scores[batch][rows][cols]; row r stands at time first + r / rep.
void softmax_forward(bf16* p, long batch, long rows, long cols, long first, long rep) {
  float e[4096];
  for (long i = 0; i < batch * rows; i++, p += cols) {
    long n = first + (i % rows) / rep + 1;
    float top = -INFINITY, sum = 0;
    for (long j = 0; j < n; j++) top = fmaxf(top, up(p[j]));
    for (long j = 0; j < n; j++) {
      e[j] = expf(up(p[j]) - top);
      sum += e[j];
    }
    float inv = 1.0f / sum;
    for (long j = 0; j < n; j++) p[j] = down(e[j] * inv);
    for (long j = n; j < cols; j++) p[j] = 0;
  }
}

// g <- p * (g - sum(p g)), row by row
void softmax_backward(const bf16* p, bf16* g, long rows, long cols) {
  for (long i = 0; i < rows; i++, p += cols, g += cols) {
    float dot = 0;
    for (long j = 0; j < cols; j++) dot += up(p[j]) * up(g[j]);
    for (long j = 0; j < cols; j++) g[j] = down(up(p[j]) * (up(g[j]) - dot));
  }
}

// Sum of the cross-entropies of rows of logits (nats); the logits become softmax - one_hot(target).
double cross_entropy(bf16* z, const int64_t* target, long rows, long n) {
  float e[8192];
  double total = 0;
  for (long i = 0; i < rows; i++, z += n) {
    float top = -INFINITY, sum = 0, own = up(z[target[i]]);
    for (long j = 0; j < n; j++) top = fmaxf(top, up(z[j]));
    for (long j = 0; j < n; j++) {
      e[j] = expf(up(z[j]) - top);
      sum += e[j];
    }
    float inv = 1.0f / sum;
    total += logf(sum) + top - own;
    e[target[i]] -= sum;
    for (long j = 0; j < n; j++) z[j] = down(e[j] * inv);
  }
  return total;
}
