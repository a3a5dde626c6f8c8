package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// doctorTimeout is how long the store may take to tell its settings.
const doctorTimeout = 10 * time.Second

func (t *tool) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Ask the configured store for its settings, and name what endangers calls",
		Long: `Connect to the configured store, every master and Sentinel of it, and name the
settings that endanger calls. It changes nothing. The exit code is 0 when all is
well, 1 when something is not or the store cannot be reached, and 2 when the
configuration has faults.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := t.load(cmd)
			if err != nil {
				return usage(err)
			}
			if cfg.Store.URL == "embedded" {
				_, err := fmt.Fprintln(t.stdout, "The embedded store has no settings to look at.")
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorTimeout)
			defer cancel()
			advice, err := cfg.StoreAdvice(ctx)
			if err != nil {
				return failed(fmt.Errorf("the store cannot be asked: %w", err))
			}
			if len(advice) == 0 {
				_, err := fmt.Fprintln(t.stdout, "The store's settings are as they should be.")
				return err
			}
			var errs []error
			for _, line := range advice {
				errs = append(errs, errors.New(line))
			}
			return failed(errors.Join(errs...))
		},
	}
	configFlags(cmd.Flags())
	return cmd
}
