// Package sim holds what tests need to make a world of their own: a disk that
// forgets what was not synced, and the seeds that decide what goes wrong.
//
// Its tests put both to use. They run whole clusters, production code but for
// goroutines, under a scheduler that a seed drives, and judge everything a client
// could have seen. A failure prints its seed; SIM_SEED replays it.
//
// Production code never imports this package.
package sim
