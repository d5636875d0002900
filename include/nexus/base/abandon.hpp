// abandon: the one place where a thread is given up, because it is stuck in the kernel and cannot
// be joined.
//
// A thread inside statfs(2) on a dead NFS mount or a read of a wedged driver returns perhaps never;
// joining it would hang the shutdown with it. Its owner hands it over here and it is detached.
// Precondition: whatever such a thread still touches when it wakes up is owned by itself
// (shared_ptr), for its owner is gone by then; see monitor/scheduler.hpp. Thread safety: any
// thread.
#pragma once

#include <cstddef>
#include <thread>

namespace nexus::base {

/// Takes ownership of a running thread and lets it go.
void abandon(std::thread thread);

/// How many threads this process has given up so far. When it is not 0, a process that ends should
/// leave with _exit(2) after its last flush, rather than run destructors of statics below a thread
/// that may wake up.
[[nodiscard]] std::size_t abandoned_threads() noexcept;

}  // namespace nexus::base
