package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

func (t *tool) tokens() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make tokens for those who may use the API",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(t.newToken())
	return cmd
}

func (t *tool) newToken() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new --name NAME --role ROLE",
		Short: "Make a token: its line for the tokens file, and the token itself",
		Long: `Make a token: its line for admin.tokens_file on the standard output, and the
token itself, which is shown this once, on the standard error output:

  sipvigil token new --name ann --role operator >> tokens

A viewer may look. An operator may also probe and hang up calls, and release
those that the brake holds. An admin may also take trunks out of service. A
running sipvigil reads the file again when it changes.`,
		Args: arguments(0, 0),
	}
	name := cmd.Flags().String("name", "", "`NAME` of who uses it, as it will be in the log")
	role := cmd.Flags().String("role", "", "`ROLE`: viewer, operator or admin")
	complete(cmd, "role", "viewer", "operator", "admin")
	cmd.RunE = func(*cobra.Command, []string) error {
		token, line, err := web.NewToken(*name, web.Role(*role))
		if err != nil { // what is wrong with which, called like the flags
			return usage(errors.New("--" + strings.ReplaceAll(err.Error(), "\n", "\n--")))
		}
		fmt.Fprintf(t.stderr, "token of %s, shown only now: %s\n", *name, token)
		if _, err := fmt.Fprintln(t.stdout, line); err != nil {
			return failed(fmt.Errorf("write: %w", err))
		}
		return nil
	}
	return cmd
}

// token is the one that a command is to show the server, empty for none.
func (t *tool) token(cmd *cobra.Command) (string, error) {
	origin, token := "SIPVIGIL_TOKEN", t.getenv("SIPVIGIL_TOKEN")
	if name := cmd.Flag("token-file").Value.String(); name != "" {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		origin, token = "--token-file", string(b)
	}
	token = strings.TrimSpace(token)
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New(origin + ": holds more than one token")
	}
	return token, nil
}
