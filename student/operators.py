"""Operators that a student may be made of: arithmetic on tensors, and control flow that ends at student.run_seconds.

Not among them: what reads or decodes files, works on strings or by regular expressions, draws at random (an answer
has to be the same twice), or keeps sequences. Domains other than these three are refused altogether.
"""

_STANDARD = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitShift
BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu CenterCropPad Clip Compress Concat Constant
ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumProd CumSum DepthToSpace DequantizeLinear Det Div
Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements
GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization GRU HardSigmoid
HardSwish Hardmax Identity If InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual
Log LogSoftmax Loop LpNormalization LSTM MatMul MatMulInteger Max MaxPool MaxUnpool Mean
MeanVarianceNormalization Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul
QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare Relu Reshape ReverseSequence RMSNormalization RNN RotaryEmbedding Round
Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unique
Unsqueeze Where Xor
"""
_MICROSOFT = """
Attention BiasGelu BiasSoftmax BiasSplitGelu DecoderMaskedMultiHeadAttention DequantizeLinear
DynamicQuantizeLSTM DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedConv FusedGemm FusedMatMul
FusedMatMulActivation GatherBlockQuantized Gelu GroupQueryAttention MatMulBnb4 MatMulFpQ4 MatMulInteger16
MatMulIntegerToFloat MatMulNBits MultiHeadAttention NhwcMaxPool QAttention QEmbedLayerNormalization QGemm
QLinearAdd QLinearAveragePool QLinearConcat QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid
QLinearSoftmax QLinearWhere QMoE QOrderedMatMul QuantizeLinear QuickGelu RelativePositionBias RestorePadding
RemovePadding RotaryEmbedding SimplifiedLayerNormalization SkipLayerNormalization
SkipSimplifiedLayerNormalization TransposeMatMul Unique
"""
_CLASSICAL = """
ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LinearClassifier LinearRegressor Normalizer
OneHotEncoder Scaler SVMClassifier SVMRegressor TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
"""

ALLOWED: frozenset[tuple[str, str]] = frozenset(  # (domain, operator); the standard domain has no name
    (domain, operator)
    for domain, operators in (
        ("", _STANDARD),
        ("com.microsoft", _MICROSOFT),
        ("ai.onnx.ml", _CLASSICAL),
    )
    for operator in operators.split()
)
