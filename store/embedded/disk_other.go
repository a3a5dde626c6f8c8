//go:build !linux

package embedded

import "os"

// syncData returns when what was written to a file is on disk.
func syncData(f *os.File) error { return f.Sync() }
