// Elementary functions that give Prometheus's digits.
//
// The C library is a little more exact than the algorithms behind Prometheus (Go's math package),
// and thereby differs in the last digit of some results. These follow the same published methods:
// FreeBSD's msun (log), Cephes (trigonometry, tanh), Shibata 2010 (exp, with fused multiply-add, as
// Prometheus computes it on x86-64), Hart & Cheney (sinh) and square-and-multiply (pow). Arguments
// of sine, cosine and tangent from 2^29 on go to the C library. Special values are those of IEEE
// 754-2008. Thread safety: pure functions.
#pragma once

namespace nexus::knowledge::promql::prometheus {

[[nodiscard]] double exp(double x);
[[nodiscard]] double log(double x);
[[nodiscard]] double log2(double x);
[[nodiscard]] double log10(double x);
[[nodiscard]] double pow(double x, double y);
[[nodiscard]] double sin(double x);
[[nodiscard]] double cos(double x);
[[nodiscard]] double tan(double x);
[[nodiscard]] double asin(double x);
[[nodiscard]] double acos(double x);
[[nodiscard]] double atan(double x);
[[nodiscard]] double atan2(double y, double x);
[[nodiscard]] double sinh(double x);
[[nodiscard]] double cosh(double x);
[[nodiscard]] double tanh(double x);
[[nodiscard]] double asinh(double x);
[[nodiscard]] double acosh(double x);
[[nodiscard]] double atanh(double x);

}  // namespace nexus::knowledge::promql::prometheus
