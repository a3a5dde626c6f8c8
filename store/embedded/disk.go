package embedded

import (
	"errors"
	"os"
)

// disk is how the journal writes. Tests let it fail.
type disk struct {
	write func(f *os.File, b []byte, at int64) (int, error)
	sync  func(*os.File) error
}

// syncDir makes the names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
