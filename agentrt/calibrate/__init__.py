"""Cost profiles measured on live servers, from outside: `agentrt calibrate`."""
