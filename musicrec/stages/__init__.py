"""What each command does: one module or package a stage, and the chain that runs them in order."""
