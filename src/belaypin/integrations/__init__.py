"""belaypin inside other tools: each module needs the package that it is named for."""
