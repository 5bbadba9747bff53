package disk

// Sync relies on os.File.Sync, which asks macOS to flush the drive's own cache
// too (F_FULLFSYNC).
func (f osFile) Sync() error { return f.File.Sync() }

// Allocate extends the file without reserving its blocks.
func (f osFile) Allocate(size int64) error { return f.extend(size) }
