package etcdserver

// bell wakes the one goroutine that receives from it. It is rung from anywhere
// and never blocks: however often it rings before that goroutine listens, it wakes
// once, and then looks at all there is.
type bell chan struct{}

// newBell has capacity 1: the ringing that nobody has heard yet.
func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}
