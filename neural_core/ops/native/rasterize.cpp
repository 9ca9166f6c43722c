// SPDX-License-Identifier: Apache-2.0
// The rasteriser of ops/rasterize.py, whose head states the rule. Every sum and product below is written in the order
// of the torch reference and compiled without contraction, so that both give the same triangles, ties included.
// Plain C interface: no header of torch is needed, which makes it compile in seconds.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

namespace {

struct Job {
    const double* vertices;  // [batch, count, 3]
    const int32_t* faces;    // [triangles, 3]
    int64_t count, triangles, height, width;
    bool perspective, cull, once;
    int32_t* triangle;  // [batch, height, width]
    float* barycentric;
    float* depth;
};

struct Edge {
    double px, py, dx, dy;  // from the smaller end
    double sign;            // -1 where the ends were swapped, times the turn of the triangle
    bool owned;             // a top or left edge

    Edge(const double* start, const double* end, double turn) {
        const bool swap = start[0] > end[0] || (start[0] == end[0] && start[1] > end[1]);
        const double* p = swap ? end : start;
        const double* q = swap ? start : end;
        px = p[0], py = p[1], dx = q[0] - p[0], dy = q[1] - p[1];
        sign = swap ? -turn : turn;
        const double ahead_x = turn * (end[0] - start[0]), ahead_y = turn * (end[1] - start[1]);
        owned = ahead_y < 0 || (ahead_y == 0 && ahead_x > 0);
    }

    double at(double x, double y) const { return sign * (dx * (y - py) - dy * (x - px)); }

    bool has(double value, bool once) const { return value > 0 || (once && owned && value == 0); }
};

constexpr double kMargin = 1e-6;  // pixels, as in the reference

int64_t first_at_or_after(double place, int64_t low) {
    return place <= static_cast<double>(low) ? low : static_cast<int64_t>(std::ceil(place));
}

int64_t last_at_or_before(double place, int64_t high) {
    return place >= static_cast<double>(high) ? high : static_cast<int64_t>(std::floor(place));
}

// Rows first .. last of one picture.
void draw(const Job& job, int64_t picture, int64_t first, int64_t last) {
    const double* vertices = job.vertices + picture * job.count * 3;
    const double width = static_cast<double>(job.width), height = static_cast<double>(job.height);
    const int64_t offset = picture * job.height * job.width;
    std::vector<double> nearest((last - first + 1) * job.width, std::numeric_limits<double>::infinity());
    for (int64_t row = first; row <= last; ++row)
        for (int64_t column = 0; column < job.width; ++column) {
            const int64_t pixel = offset + row * job.width + column;
            job.triangle[pixel] = -1;
            job.depth[pixel] = 0;
            for (int k = 0; k < 3; ++k) job.barycentric[3 * pixel + k] = 0;
        }

    for (int64_t face = 0; face < job.triangles; ++face) {
        const double* a = vertices + 3 * static_cast<int64_t>(job.faces[3 * face]);
        const double* b = vertices + 3 * static_cast<int64_t>(job.faces[3 * face + 1]);
        const double* c = vertices + 3 * static_cast<int64_t>(job.faces[3 * face + 2]);
        // The sum of nine numbers is not finite if one of them is not (or if they are too large to be drawn anyway).
        if (!std::isfinite(a[0] + a[1] + a[2] + b[0] + b[1] + b[2] + c[0] + c[1] + c[2])) continue;
        const double top = ((std::min({a[1], b[1], c[1]}) + 1) * height - 1) / 2 - kMargin;
        const double bottom = ((std::max({a[1], b[1], c[1]}) + 1) * height - 1) / 2 + kMargin;
        const double left = ((std::min({a[0], b[0], c[0]}) + 1) * width - 1) / 2 - kMargin;
        const double right = ((std::max({a[0], b[0], c[0]}) + 1) * width - 1) / 2 + kMargin;
        if (bottom < first || top > last || right < 0 || left > width - 1) continue;
        const int64_t row_from = first_at_or_after(top, first), row_to = last_at_or_before(bottom, last);
        const int64_t column_from = first_at_or_after(left, 0), column_to = last_at_or_before(right, job.width - 1);
        if (row_from > row_to || column_from > column_to) continue;
        const double area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        if (area == 0 || (job.cull && area > 0)) continue;
        if (job.perspective && !(a[2] > 0 && b[2] > 0 && c[2] > 0)) continue;

        const double turn = area > 0 ? 1.0 : -1.0;
        const Edge at_a(b, c, turn), at_b(c, a, turn), at_c(a, b, turn);
        for (int64_t row = row_from; row <= row_to; ++row) {
            const double y = (2.0 * static_cast<double>(row) + 1.0) / height - 1.0;
            for (int64_t column = column_from; column <= column_to; ++column) {
                const double x = (2.0 * static_cast<double>(column) + 1.0) / width - 1.0;
                double u = at_a.at(x, y), v = at_b.at(x, y), w = at_c.at(x, y);
                if (!(at_a.has(u, job.once) && at_b.has(v, job.once) && at_c.has(w, job.once))) continue;
                double total = (u + v) + w;
                if (!(total > 0)) continue;
                u /= total, v /= total, w /= total;
                double depth;
                if (job.perspective) {
                    u /= a[2], v /= b[2], w /= c[2];
                    total = (u + v) + w;
                    u /= total, v /= total, w /= total;
                    depth = 1.0 / total;
                } else {
                    depth = (u * a[2] + v * b[2]) + w * c[2];
                }
                double& best = nearest[(row - first) * job.width + column];
                if (!(depth < best)) continue;
                best = depth;
                const int64_t pixel = offset + row * job.width + column;
                job.triangle[pixel] = static_cast<int32_t>(face);
                job.depth[pixel] = static_cast<float>(depth);
                job.barycentric[3 * pixel] = static_cast<float>(u);
                job.barycentric[3 * pixel + 1] = static_cast<float>(v);
                job.barycentric[3 * pixel + 2] = static_cast<float>(w);
            }
        }
    }
}

}  // namespace

#if defined(_WIN32)
#define NP_EXPORT extern "C" __declspec(dllexport)
#else
#define NP_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// Every picture is cut into bands of rows, one for each thread; a band is drawn by one thread alone.
NP_EXPORT void np_rasterize(const double* vertices, const int32_t* faces, int64_t batch, int64_t count,
                            int64_t triangles, int64_t height, int64_t width, int64_t perspective, int64_t cull,
                            int64_t once, int64_t threads, int32_t* triangle, float* barycentric, float* depth) {
    const Job job{vertices, faces, count, triangles, height, width, perspective != 0, cull != 0, once != 0,
                  triangle, barycentric, depth};
    threads = std::max<int64_t>(1, threads);
    const int64_t bands = std::min(height, batch >= threads ? int64_t{1} : threads);
    std::atomic<int64_t> next{0};
    const auto work = [&] {
        for (int64_t task = next++; task < batch * bands; task = next++) {
            const int64_t band = task % bands;
            draw(job, task / bands, band * height / bands, (band + 1) * height / bands - 1);
        }
    };
    std::vector<std::thread> helpers;
    for (int64_t k = 1; k < std::min(threads, batch * bands); ++k) helpers.emplace_back(work);
    work();
    for (auto& helper : helpers) helper.join();
}
