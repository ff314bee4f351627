package registry

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// Credentials are what a registry is told of who asks.
type Credentials struct{ Username, Password string }

// Login finds the user name and the password for a registry in the content of a
// Docker configuration, as in a Secret of type kubernetes.io/dockerconfigjson; ok is
// false when it has none. No error tells what the content is.
func Login(dockerConfig []byte, host string) (c Credentials, ok bool, err error) {
	var config struct {
		Auths map[string]struct{ Username, Password, Auth string }
	}
	if json.Unmarshal(dockerConfig, &config) != nil {
		return c, false, fmt.Errorf("the Docker configuration with the logins is not readable JSON")
	}
	for key, login := range config.Auths {
		if hostOf(key) != hostOf(host) {
			continue
		}
		if login.Username != "" || login.Auth == "" {
			return Credentials{login.Username, login.Password}, true, nil
		}
		decoded, err := base64.StdEncoding.DecodeString(login.Auth)
		username, password, pair := strings.Cut(string(decoded), ":")
		if err != nil || !pair {
			return c, false, fmt.Errorf("the login for %s in the Docker configuration is not readable", host)
		}
		return Credentials{username, password}, true, nil
	}
	return c, false, nil
}

// hostOf is the registry that a key of a Docker configuration names.
func hostOf(key string) string {
	_, rest, found := strings.Cut(key, "://")
	if !found {
		rest = key
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == "docker.io" || host == "registry-1.docker.io" {
		return "index.docker.io"
	}
	return host
}
