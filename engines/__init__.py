"""One small interface over the inference runtimes. Knows neither nodes nor the framework."""
