//go:build !unix

package embedded

import (
	"errors"
	"os"
)

// lockFile fails: without locks a journal could be written by two.
func lockFile(*os.File) error { return errors.ErrUnsupported }
